-- Which instances have stood still for too long, and which of those move again. ARGV: after (ms), at most, look at the stuck again after (ms)
-- Reply: OK, {id, {field, value, …}, … of those that are stuck now}, {those that move again, or have ended}
-- Each instance comes to be looked at `after` its last progress; what it did since then is in its hash, so that no other script keeps this.
local no = refusal()
if no then return no end
local after, again = tonumber(ARGV[1]), tonumber(ARGV[3])
if not after or not again then return {'ERROR', 'times must be numbers'} end
local stuck, moved = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'progress', '-inf', NOW - after, 'LIMIT', 0, ARGV[2])) do
  local k = P .. 'i:' .. id
  if not redis.call('ZSCORE', P .. 'followed', id) then
    redis.call('ZREM', P .. 'progress', id)
    if redis.call('ZREM', P .. 'stuck', id) == 1 then
      redis.call('HDEL', k, 'stk')
      moved[#moved + 1] = id
    end
  else
    local v = redis.call('HMGET', k, 'last', 'mv', 'first', 'st', 'pk', 'stk')
    local latest = math.max(tonumber(v[1]) or 0, tonumber(v[2]) or 0, tonumber(v[3]) or 0)
    -- What is parked waits for a person already, and what is not submitted yet for somebody else.
    local ours = not v[5] and (not v[4] or v[4] == '' or v[4] == 'submitted')
    if ours and latest <= NOW - after then
      redis.call('ZADD', P .. 'progress', int(NOW - after + again), id)
      if not v[6] then
        redis.call('HSET', k, 'stk', int(NOW))
        redis.call('ZADD', P .. 'stuck', NOW, id)
        stuck[#stuck + 1] = id
        stuck[#stuck + 1] = redis.call('HGETALL', k)
      end
    else
      redis.call('ZADD', P .. 'progress', int(latest > NOW - after and math.min(latest, NOW) or NOW), id)
      if v[6] then
        redis.call('HDEL', k, 'stk')
        redis.call('ZREM', P .. 'stuck', id)
        moved[#moved + 1] = id
      end
    end
  end
end
return {'OK', stuck, moved}
