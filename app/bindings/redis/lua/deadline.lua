-- Included first by every batched script: reads Redis's clock, and stops before any effect when the deadline is over.
-- Gives: now (milliseconds), last (the index in ARGV of the last item), answers (the time, then one number per item).
-- ARGV: the script's own, its items, and last of all the latest `now` at which it may begin.
-- Whole milliseconds: Lua keeps them exactly, and its %.0f writes them in full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {now}
if now > tonumber(ARGV[#ARGV]) then return answers end
local last = #ARGV - 1
