-- The API says there is no such instance: once may be an accident, twice parks it; it goes on by itself at the next 200.
-- ARGV: instance, token, lease (ms). Reply: OK, times in a row
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local times = redis.call('HINCRBY', k, 'unk', 1)
if times >= 2 and redis.call('HEXISTS', k, 'pk') == 0 and redis.call('HEXISTS', k, 'end') == 0 then
  redis.call('HSET', k, 'pk', 'unknown', 'pkd', int(NOW))
  redis.call('ZADD', P .. 'parked', NOW, ARGV[1])
  changed()
  tally('parked')
  audit('parked', ARGV[1], redis.call('HGET', k, 'job'), 'k', 'unknown')
end
return {'OK', int(times)}
