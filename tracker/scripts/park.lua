-- Set an instance aside for a person, with what it owes and its open intent. ARGV: instance, token, kind, reason
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], 1000)
if not k then return LOST end
local new = redis.call('HGET', k, 'pk') ~= ARGV[3]
redis.call('HSET', k, 'pk', ARGV[3], 'why', ARGV[4])
redis.call('HSETNX', k, 'pkd', int(NOW))
redis.call('HDEL', k, 'lk', 'lu')
redis.call('ZADD', P .. 'parked', 'NX', NOW, id)
redis.call('ZREM', P .. 'owing', id)
redis.call('ZREM', P .. 'watched', id)
changed()
if new then
  tally('parked')
  audit('parked', id, redis.call('HGET', k, 'job'), 'k', ARGV[3], 'y', ARGV[4])
end
return {'OK'}
