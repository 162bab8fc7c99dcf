-- Deletes an item of the store, and its namespace from the list of namespaces when that was its last item.
-- KEYS: namespaces, items, births
-- ARGV: key, namespace
local namespaces, items, births = KEYS[1], KEYS[2], KEYS[3]
local key, namespace = ARGV[1], ARGV[2]

redis.call('HDEL', items, key)
redis.call('HDEL', births, key)
if redis.call('EXISTS', items) == 0 then redis.call('ZREM', namespaces, namespace) end
