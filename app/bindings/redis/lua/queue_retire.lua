-- Removes a consumer that gives no sign of life and has nothing pending: with its name, pending messages would go.
-- Answers: 1, or 0 when it stays.
-- KEYS: stream, alive
-- ARGV: group, consumer
local stream, alive = KEYS[1], KEYS[2]
local group, consumer = ARGV[1], ARGV[2]

if redis.call('EXISTS', alive) == 1 then return 0 end
if #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
return 1
