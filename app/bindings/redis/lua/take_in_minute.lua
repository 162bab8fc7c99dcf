-- Counts one try per item, at most `most` in any minute: exact, where a bucket would grant its capacity and its refill.
-- include: deadline
-- KEYS: tries
-- ARGV: most
-- Items: anything. Answers: 0 for a try that is counted, else the milliseconds until one will be.
-- The list holds the times of the last minute's tries, oldest first; a clock that is set back begins a new minute.
local tries, most = KEYS[1], tonumber(ARGV[1])
local oldest = tonumber(redis.call('LINDEX', tries, 0))
while oldest and (oldest <= now - 60000 or oldest > now) do
    redis.call('LPOP', tries)
    oldest = tonumber(redis.call('LINDEX', tries, 0))
end
local counted = redis.call('LLEN', tries)
for i = 2, last do
    if counted < most then
        redis.call('RPUSH', tries, string.format('%.0f', now))
        counted = counted + 1
        answers[#answers + 1] = 0
    else
        -- Of those that count now, so many must become older than a minute that one more fits.
        answers[#answers + 1] = tonumber(redis.call('LINDEX', tries, counted - most)) + 60000 - now
    end
end
redis.call('PEXPIRE', tries, 60000)
return answers
