-- A PUT of a job's state is about to be sent (sent), or was answered with 200 (answered). ARGV: job, token, lease (ms), sent | answered
local no = refusal()
if no then return no end
local k = P .. 'j:' .. ARGV[1]
local v = redis.call('HMGET', k, 'token', 'until', 'open')
if v[1] ~= ARGV[2] or (tonumber(v[2]) or 0) <= NOW then return LOST end
redis.call('HSET', k, 'until', int(NOW + tonumber(ARGV[3])))
if ARGV[4] == 'sent' then
  redis.call('HSET', k, 'sent', int(NOW))
  redis.call('HINCRBY', k, 'open', 1)
elseif (tonumber(v[3]) or 0) > 0 then redis.call('HINCRBY', k, 'open', -1) end
changed()
return {'OK'}
