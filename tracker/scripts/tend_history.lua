-- What the periodic check does for the history: the bound in force, what was trimmed before it was drained, when to drain again.
-- ARGV: entries at most, 1 when there is a database, pause between two drains (ms), the longest pause after failures (ms)
-- Works unverified. Reply: OK, entries trimmed undrained since this was asked last, 1 when it is time to drain
local state = P .. 'history_state'
local most = tonumber(ARGV[1])
if not most or most < 1 then return {'ERROR', 'expected a bound above 0'} end
redis.call('HSET', state, 'most', int(most))
if ARGV[2] == '1' then redis.call('HSET', state, 'draining', '1')
else redis.call('HDEL', state, 'draining', 'drained', 'ok', 'tried', 'failures', 'why', 'told', 'lost', 'lost_at') end
for _ = 1, 20 do
  if bound_history() == 0 then break end
end
local v = redis.call('HMGET', state, 'drained', 'tried', 'failures', 'lost', 'told')
local untold = (tonumber(v[4]) or 0) - (tonumber(v[5]) or 0)
if untold > 0 then redis.call('HSET', state, 'told', v[4]) end
local due = false
local newest = redis.call('XREVRANGE', P .. 'history', '+', '-', 'COUNT', 1)[1]
if ARGV[2] == '1' and newest and newest[1] ~= v[1] then
  local pause = math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(tonumber(v[3]) or 0, 20))
  local tried = tonumber(v[2]) or 0
  due = tried > NOW or NOW - tried >= pause
  if due then redis.call('HSET', state, 'tried', int(NOW)) end
end
return {'OK', int(untold), due and '1' or '0'}
