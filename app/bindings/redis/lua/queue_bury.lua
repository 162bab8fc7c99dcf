-- Moves a message that is pending to the dead letters. Answers: 1, or 0 when it is not pending any more.
-- KEYS: stream, dead
-- ARGV: group, entry, body, reason, tries
local stream, dead = KEYS[1], KEYS[2]
local group, entry, body, reason, tries = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if #redis.call('XPENDING', stream, group, entry, entry, 1) == 0 then return 0 end
redis.call('XADD', dead, '*', 'body', body, 'reason', reason, 'tries', tries)
redis.call('XACK', stream, group, entry)
redis.call('XDEL', stream, entry)
return 1
