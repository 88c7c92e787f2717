-- Give the lock back and say when to come again.
-- ARGV: instance, token, delay (ms), reason ("": all is well), watch (ms, "" for no), kick (ms). Reply: OK, 1 when a push task should be sent
local no = refusal()
if no then return no end
local id, delay, kick = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[6])
local k = held(id, ARGV[2], 1000)
if not k then return LOST end
local v = redis.call('HMGET', k, 'owed', 'dl', 'aside', 'pk', 'rs', 'total', 'ins')
redis.call('HDEL', k, 'lk', 'lu')
if ARGV[4] == '' then redis.call('HDEL', k, 'why', 'tr', 'nb')
else
  redis.call('HSET', k, 'why', ARGV[4])
  redis.call('HINCRBY', k, 'tr', 1)
  if delay > 0 then redis.call('HSET', k, 'nb', int(NOW + delay)) end
end
if ARGV[5] == '' then redis.call('ZREM', P .. 'watched', id) else redis.call('ZADD', P .. 'watched', NOW + tonumber(ARGV[5]), id) end
local pending = (tonumber(v[1]) or 0) > 0 or v[2] or v[3] or v[4] == 'unknown'
if not v[3] then redis.call('ZREM', P .. 'leisure', id) end
if not pending then redis.call('ZREM', P .. 'owing', id); return {'OK', '0'} end
local rest = tonumber(v[5] or nil) or 0
if delay == 0 and not v[2] and not v[3] and rest > NOW and rest <= NOW + 60000 and not is_all_in(v[6], v[7], tonumber(v[1])) then
  delay = rest - NOW
end
redis.call('ZADD', P .. 'owing', NOW + delay, id)
if delay > 0 then return {'OK', '0'} end
redis.call('HSET', k, 'k', int(NOW + kick))
return {'OK', '1'}
