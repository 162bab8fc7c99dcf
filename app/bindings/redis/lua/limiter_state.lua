-- Included by the provider limiter's scripts: brings a provider's keys up to date before anything is asked of them.
-- KEYS: slots (sorted set: token -> end of its lease), line (hash: process -> "joined heard"), state (hash: seen,
--   pause, step), circuits (hash: name -> JSON of a circuit)
-- ARGV: lease
-- Gives: lease, pause (calls wait until then), step (the pause after the next "not now" without a time), circuit_of,
--   store_circuit, finish.
-- A circuit: failures (in a row), shut (open until then; 0 while it is closed), period (how long it was open), probe
-- (token of the one call that is let through after that), at (last use). All times in Redis's milliseconds.
--
-- Holders renew their slots three times per lease. Where nobody was heard for longer, Redis was away or its clock has
-- jumped: then those who live get half a lease to say so, before their slots go to others. They get it once: half a
-- millisecond marks the end of a slot that nobody has renewed since.
local slots, line, state, circuits = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lease = tonumber(ARGV[1])

local stored = redis.call('HMGET', state, 'seen', 'pause', 'step')
local seen, pause, step = tonumber(stored[1]) or now, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
if now < seen then
    pause = pause - (seen - now)
    local known = redis.call('HGETALL', circuits)
    for i = 1, #known, 2 do
        local circuit = cjson.decode(known[i + 1])
        if circuit.shut > 0 then circuit.shut = math.max(1, circuit.shut - (seen - now)) end
        redis.call('HSET', circuits, known[i], cjson.encode(circuit))
    end
end
if now < seen or now - seen > lease * 2 / 3 then
    local grace = now + math.floor(lease / 2) + 0.5
    local held = redis.call('ZRANGE', slots, 0, -1, 'WITHSCORES')
    for i = 1, #held, 2 do
        local ends = tonumber(held[i + 1])
        if ends > now + lease or ends < grace and ends % 1 == 0 then
            redis.call('ZADD', slots, string.format('%.1f', grace), held[i])
        end
    end
end
redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)

local function circuit_of(name)
    local known = redis.call('HGET', circuits, name)
    return known and cjson.decode(known) or {failures = 0, shut = 0, period = 0, probe = ''}
end

local function store_circuit(name, circuit)
    circuit.at = now
    redis.call('HSET', circuits, name, cjson.encode(circuit))
end

local function finish()
    redis.call('HSET', state, 'seen', now, 'pause', pause, 'step', step)
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 86400000) end
    return answers
end
