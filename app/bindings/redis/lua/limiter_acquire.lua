-- Gives slots to callers, or tells how long they must wait.
-- include: deadline, limiter_state
-- KEYS: slots, line, state, circuits
-- ARGV: lease, width, process
-- Items: "token wants circuit", where wants is 1 to ask for a slot and 0 to ask only whether the circuit is open.
-- Answers: 0 the slot is yours; n > 0 not for n ms at least; n < 0 the circuit is open for -n ms.
--
-- Processes stand in line too, by the time when each was last given a slot: one slot is left free for each that is
-- ahead of this one. A process that has not asked for 1.5 s has left the line.
local width, process = tonumber(ARGV[2]), ARGV[3]

local waiting, joined_at = redis.call('HGETALL', line), {}
for i = 1, #waiting, 2 do
    local joined, heard = string.match(waiting[i + 1], '(%d+) (%d+)')
    if math.abs(now - heard) > 1500 then
        redis.call('HDEL', line, waiting[i])
    else
        joined_at[waiting[i]] = tonumber(joined)
    end
end
local joined, ahead, served, unserved = joined_at[process] or now, 0, false, false
for other, at in pairs(joined_at) do
    if other ~= process and at < joined then ahead = ahead + 1 end
end

local function open_for(circuit)
    if circuit.shut > now then return circuit.shut - now end
    local probing = circuit.shut > 0 and redis.call('ZSCORE', slots, circuit.probe)
    return probing and math.max(1, probing - now) or 0
end

local function answer(token, wants, name)
    -- A token that asks does not know of a slot that it may have been given.
    redis.call('ZREM', slots, token)
    local circuit = circuit_of(name)
    local open_ms = open_for(circuit)
    if open_ms > 0 then return -open_ms end
    if pause > now then return pause - now end
    if wants == '0' then return 1 end
    if redis.call('ZCARD', slots) + ahead >= width then
        unserved = true
        return 1
    end
    served = true
    redis.call('ZADD', slots, now + lease, token)
    if circuit.shut > 0 then
        circuit.probe = token
        store_circuit(name, circuit)
    end
    return 0
end

for i = 4, last do
    answers[#answers + 1] = answer(string.match(ARGV[i], '^(%S+) (%d) (.+)$'))
end
if unserved then
    redis.call('HSET', line, process, string.format('%.0f %.0f', served and now or joined, now))
else
    redis.call('HDEL', line, process)
end
return finish()
