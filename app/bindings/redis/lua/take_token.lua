-- Takes one token per item from a bucket that fills up by `per_minute`, to `capacity` at most.
-- include: deadline
-- KEYS: bucket
-- ARGV: capacity, per_minute
-- Items: anything. Answers: 0 for a token, else the milliseconds until there will be one.
-- A clock that is set back grants nothing, one that is set forward fills the bucket at most.
local bucket = KEYS[1]
local capacity, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2]) / 60000

local stored = redis.call('HMGET', bucket, 'tokens', 'at')
local tokens, at = tonumber(stored[1]) or capacity, tonumber(stored[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * per_ms)
for i = 3, last do
    if tokens >= 1 then
        tokens = tokens - 1
        answers[#answers + 1] = 0
    else
        answers[#answers + 1] = math.ceil((1 - tokens) / per_ms)
    end
end
redis.call('HSET', bucket, 'tokens', string.format('%.9f', tokens), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', bucket, string.format('%.0f', math.ceil((capacity - tokens) / per_ms) + 1000))
return answers
