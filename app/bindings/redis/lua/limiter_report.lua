-- Takes reports of how calls ended, renews the slots of those that go on, and frees the slots of those that are over.
-- include: deadline, limiter_state
-- KEYS: slots, line, state, circuits
-- ARGV: lease, open, longest_open, step, longest_step, longest_pause, opens_after, forget
-- Items: "token outcome asked circuit"; asked: the milliseconds that the vendor asked to wait, or 0. Answers: 0.
-- Outcomes: answered, outage and rate are a call's; renew keeps its slot, release frees it. A slot that was lost
-- meanwhile is taken again with renew: the call goes on all the same, and has to be counted.
-- Circuits that were not used for `forget` ms are dropped.
local open, longest_open = tonumber(ARGV[2]), tonumber(ARGV[3])
local first_step, longest_step, longest_pause = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local opens_after, forget = tonumber(ARGV[7]), tonumber(ARGV[8])

local function extend_pause(asked)
    if asked > 0 then
        pause = math.max(pause, now + math.min(asked, longest_pause))
    elseif pause <= now then
        step = step > 0 and math.min(step * 2, longest_step) or first_step
        pause = now + step
    end
end

local function count(circuit, token, outcome)
    local is_probe = circuit.probe == token
    if circuit.shut > 0 and not is_probe then return end
    if outcome ~= 'outage' then
        circuit.failures, circuit.shut, circuit.period, circuit.probe = 0, 0, 0, ''
        return
    end
    circuit.failures = circuit.failures + 1
    if is_probe or circuit.failures >= opens_after then
        circuit.period = is_probe and math.min(circuit.period * 2, longest_open) or open
        circuit.shut, circuit.probe = now + circuit.period, ''
    end
end

for i = 9, last do
    local token, outcome, asked, name = string.match(ARGV[i], '^(%S+) (%S+) (%d+) (.+)$')
    if outcome == 'renew' then
        redis.call('ZADD', slots, now + lease, token)
    elseif outcome == 'release' then
        redis.call('ZREM', slots, token)
    else
        if outcome == 'rate' then extend_pause(tonumber(asked)) end
        if outcome == 'answered' and pause <= now then step = 0 end
        local circuit = circuit_of(name)
        count(circuit, token, outcome)
        store_circuit(name, circuit)
    end
    answers[#answers + 1] = 0
end
local known = redis.call('HGETALL', circuits)
for i = 1, #known, 2 do
    if cjson.decode(known[i + 1]).at < now - forget then redis.call('HDEL', circuits, known[i]) end
end
return finish()
