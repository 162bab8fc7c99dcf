-- Adds one message per item, as long as the stream is shorter than `length`.
-- include: deadline
-- KEYS: stream
-- ARGV: length
-- Items: bodies. Answers: 1 for a message that was added, 0 for one that found no room.
local stream = KEYS[1]
local room = tonumber(ARGV[1]) - redis.call('XLEN', stream)

for i = 2, last do
    if room > 0 then redis.call('XADD', stream, '*', 'body', ARGV[i]) end
    answers[#answers + 1] = room > 0 and 1 or 0
    room = room - 1
end
return answers
