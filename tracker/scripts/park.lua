-- Set an instance aside for a person, with what it owes and its open intent. ARGV: instance, token, kind, reason
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], 1000)
if not k then return LOST end
redis.call('HSET', k, 'pk', ARGV[3], 'why', ARGV[4])
redis.call('HSETNX', k, 'pkd', int(NOW))
redis.call('HDEL', k, 'lk', 'lu')
redis.call('ZADD', P .. 'parked', 'NX', NOW, id)
redis.call('ZREM', P .. 'owing', id)
redis.call('ZREM', P .. 'watched', id)
changed()
return {'OK'}
