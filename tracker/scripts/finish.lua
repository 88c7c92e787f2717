-- The instance has ended; give its lock back. ARGV: instance, token, state, how long to remember it (ms), kick (ms)
-- Reply: OK, 1 when it owes something all the same and should be pushed
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], 1000)
if not k then return LOST end
local v = redis.call('HMGET', k, 'owed', 'dl', 'aside', 'hand', 'counted')
local owes = (tonumber(v[1]) or 0) > 0 or v[2]
redis.call('HDEL', k, 'lk', 'lu', 'why', 'tr', 'nb', 'ps', 'aside')
redis.call('HSET', k, 'st', ARGV[3], 'end', int(NOW))
redis.call('ZREM', P .. 'followed', id)
redis.call('ZREM', P .. 'watched', id)
local leisure = redis.call('ZREM', P .. 'leisure', id)
changed()
if owes then
  redis.call('HSET', k, 'k', int(NOW + tonumber(ARGV[5])))
  redis.call('ZADD', P .. 'owing', NOW, id)
  return {'OK', '1'}
end
redis.call('ZREM', P .. 'owing', id)
if leisure == 1 and not v[5] and (tonumber(v[4]) or 0) == 0 then
  redis.call('DEL', k)                                 -- an import of long ago, read again at a birth
else
  redis.call('PEXPIRE', k, ARGV[4])
  redis.call('ZADD', P .. 'finished', NOW, id)
end
redis.call('ZREMRANGEBYSCORE', P .. 'finished', '-inf', NOW - tonumber(ARGV[4]))
return {'OK', '0'}
