-- Moves the oldest dead letters, up to the entry `newest`, back to the queue.
-- Answers: {entry, reason, tries} of each letter that was moved.
-- KEYS: stream, dead
-- ARGV: newest, count
local stream, dead = KEYS[1], KEYS[2]
local newest, count = ARGV[1], ARGV[2]

local moved = {}
for _, letter in ipairs(redis.call('XRANGE', dead, '-', newest, 'COUNT', count)) do
    local fields = {body = '', reason = '', tries = ''}
    for i = 1, #letter[2], 2 do
        fields[letter[2][i]] = letter[2][i + 1]
    end
    redis.call('XADD', stream, '*', 'body', fields.body)
    redis.call('XDEL', dead, letter[1])
    moved[#moved + 1] = {letter[1], fields.reason, fields.tries}
end
return moved
