-- Close the open intent. ARGV: instance, token, lease (ms), outcome (applied | not applied), etag after it ("" for unknown). Reply: a snapshot
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local v = redis.call('HMGET', k, 'dl', 'bf', 'owed')
if not v[1] then return {'ERROR', 'no intent is open'} end
if ARGV[4] == 'applied' then
  redis.call('HSET', k, 'owed', int(tonumber(v[3]) - tonumber(v[1])), 'ins', int(tonumber(v[2]) + tonumber(v[1])), 'et', ARGV[5])
elseif ARGV[4] == 'not applied' then redis.call('HSET', k, 'et', ARGV[5])
else return {'ERROR', 'the outcome must be applied or not applied'} end
redis.call('HDEL', k, 'dl', 'bf', 'im', 'sent')
changed()
return snapshot(k)
