-- Allow one more copy of the open intent. ARGV: instance, token, lease (ms), delta, etag as the sender knows them. Reply: a snapshot
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local v = redis.call('HMGET', k, 'dl', 'im')
if v[1] ~= ARGV[4] or v[2] ~= ARGV[5] then return {'ERROR', 'the open intent is another'} end
redis.call('HSET', k, 'sent', int(NOW))
changed()
return snapshot(k)
