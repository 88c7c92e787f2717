-- What the periodic check has to set in motion. ARGV: at most, kick (ms), hold (ms: not again before), leisurely ones at most, rest (ms),
--   of those to push of which more is expected at most, while records flow (0: none, whether they flow or not)
-- Reply: OK, {instances to push}, {to look at}, {to look at, for the total they lack}, {jobs}, {parked, since, …}, ready since (ms, "" for not yet),
--   {instances to push of which more is expected}
local no = refusal()
if no then return no end
local most, kick, hold = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- A ledger of an older version has no sum and no index of what is owed: made once. Whoever owes is owing, or parked.
if not LEDGER[9] then
  local sum, summed = 0, {}
  for _, list in ipairs({'owing', 'parked'}) do
    for _, id in ipairs(redis.call('ZRANGE', P .. list, 0, -1)) do
      local v = redis.call('HMGET', P .. 'i:' .. id, 'g', 'owed', 'dl', 'sent')
      local owed = v[1] == NUMBER and tonumber(v[2]) or 0
      if owed > 0 and not summed[id] then
        summed[id] = true
        sum = sum + owed
        redis.call('ZADD', P .. 'owed', 'NX', NOW, id)
      end
      if v[1] == NUMBER and v[3] then redis.call('ZADD', P .. 'intents', 'NX', v[4] or NOW, id) end
    end
  end
  redis.call('HSET', P .. 'ledger', 'owed', int(sum))
end
local push, passing, look, totals, jobs = {}, {}, {}, {}, {}
local function send(list, id)
  redis.call('HSET', touch(id), 'k', int(NOW + kick))
  list[#list + 1] = id
end
local ready = ready_at()
if ready and ready <= NOW then
  local due = redis.call('ZRANGEBYSCORE', P .. 'owing', '-inf', NOW, 'LIMIT', 0, most)
  local flow = tonumber(redis.call('HGET', P .. 'ledger', 'flow') or nil) or 0
  local flows = flow <= NOW and NOW - flow <= 300
  local most_passing, rested = tonumber(ARGV[6]), {}
  -- Where nothing has been applied for a moment, no more is to come that what rests could wait for.
  if tonumber(ARGV[5]) > 0 and most_passing > 0 and not flows then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'owing', '(' .. int(NOW), int(NOW + tonumber(ARGV[5])), 'LIMIT', 0, most)) do
      local v = redis.call('HMGET', P .. 'i:' .. id, 'rs', 'nb')
      if (tonumber(v[1] or nil) or 0) > NOW and not v[2] then due[#due + 1] = id end
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', P .. 'leisure', 0, tonumber(ARGV[4]) - 1)) do
    redis.call('ZADD', P .. 'leisure', NOW, id)
    due[#due + 1] = id
  end
  for _, id in ipairs(due) do
    local k = P .. 'i:' .. id
    local v = redis.call('HMGET', k, 'lu', 'k', 'g', 'total', 'ins', 'owed', 'dl', 'aside', 'rs')
    local lock, kicked = tonumber(v[1]) or 0, tonumber(v[2]) or 0
    if not v[3] then
      redis.call('ZREM', P .. 'owing', id)
      redis.call('ZREM', P .. 'leisure', id)
    elseif lock > NOW and lock <= NOW + 60000 then redis.call('ZADD', P .. 'owing', 'XX', lock, id)
    elseif kicked <= NOW or kicked > NOW + kick then
      local awaited = not v[5] or v[7] or v[8] or not v[9] or is_all_in(v[4], v[5], tonumber(v[6]) or 0)
      if awaited then send(push, id) else rested[#rested + 1] = {id = id, since = tonumber(v[9]), n = #rested} end
    end
  end
  -- Whoever has waited for longest goes first, by the end of its rest: the scores change below, and equal ones would go by name.
  table.sort(rested, function(a, b) return a.since < b.since or a.since == b.since and a.n < b.n end)
  local room = (flows or most_passing == 0) and most_passing or tonumber(most)
  for n, each in ipairs(rested) do
    if n <= room then send(passing, each.id)
    elseif each.since <= NOW then
      -- To the end of the line, so that it hides nobody from the next check.
      redis.call('ZADD', P .. 'owing', 'XX', string.format('%.4f', NOW - 1 + (n - room) / 4096), each.id)
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'watched', '-inf', NOW, 'LIMIT', 0, most)) do
    local v = redis.call('HMGET', P .. 'i:' .. id, 'g', 'total')
    if not v[1] then redis.call('ZREM', P .. 'watched', id)
    else
      redis.call('ZADD', P .. 'watched', NOW + hold, id)
      local list = (v[2] and v[2] ~= '') and look or totals
      list[#list + 1] = id
    end
  end
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', P .. 'jobs', '-inf', NOW, 'LIMIT', 0, most)) do
    local w = redis.call('HMGET', P .. 'j:' .. job, 'until', 'wanted')
    local lock = tonumber(w[1] or nil) or 0
    if not w[2] then
      redis.call('ZREM', P .. 'jobs', job)
      redis.call('ZREM', P .. 'failing_jobs', job)
    -- Whoever holds it says when to come again, or has died: then it is due when the lock ends. None is that far off: a clock ran ahead.
    elseif lock > NOW and lock <= NOW + 600000 then redis.call('ZADD', P .. 'jobs', lock, job)
    else
      redis.call('ZADD', P .. 'jobs', NOW + hold, job)
      jobs[#jobs + 1] = job
    end
  end
end
local parked = redis.call('ZRANGE', P .. 'parked', 0, 99, 'WITHSCORES')
return {'OK', push, look, totals, jobs, parked, ready and ready <= NOW and int(ready) or '', passing}
