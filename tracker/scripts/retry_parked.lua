-- A person has mended what a parked instance waited for: it is looked at by the next check. ARGV: instance, who, why
-- Reply: OK; or NOT_PARKED
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = P .. 'i:' .. id
local v = redis.call('HMGET', k, 'g', 'pk', 'job')
if v[1] ~= NUMBER or not v[2] then return {'NOT_PARKED', ''} end
redis.call('HDEL', k, 'nb')
redis.call('HSET', k, 'mv', int(NOW))
-- One that the API does not know stays parked until a GET shows it: it gathers, and is tried all the same.
if v[2] ~= 'unknown' then
  redis.call('HDEL', k, 'pk', 'pkd')
  redis.call('ZREM', P .. 'parked', id)
end
redis.call('ZADD', P .. 'owing', NOW, id)
redis.call('ZADD', P .. 'watched', NOW, id)
changed()
audit(v[2] == 'unknown' and 'retried' or 'unparked', id, v[3], 'f', 'hand', 'u', ARGV[2], 'y', ARGV[3])
return {'OK', ''}
