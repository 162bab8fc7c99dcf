-- Notes that a provider was used, and forgets those that were not for `forget` ms.
-- include: deadline
-- KEYS: providers (sorted set: id -> last use)
-- ARGV: forget
-- Items: ids of providers. Answers: 0.
local providers, forget = KEYS[1], tonumber(ARGV[1])

for i = 2, last do
    redis.call('ZADD', providers, now, ARGV[i])
    answers[#answers + 1] = 0
end
redis.call('ZREMRANGEBYSCORE', providers, '-inf', now - forget)
redis.call('PEXPIRE', providers, forget)
return answers
