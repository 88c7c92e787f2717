-- One page of the full listing. ARGV: state, then per instance: id, job, total ("" for none), inserted, open tasks. Reply: OK, new ones
local no = refusal()
if no then return no end
if (#ARGV - 1) % 5 ~= 0 then return {'ERROR', 'five values an instance'} end
local ready = ready_at()
ready = ready and ready <= NOW
local new = 0
for n = 2, #ARGV, 5 do
  local id, job, total, inserted, tasks = ARGV[n], ARGV[n + 1], ARGV[n + 2], tonumber(ARGV[n + 3]) or 0, ARGV[n + 4]
  local k = P .. 'i:' .. id
  local v = redis.call('HMGET', k, 'aside', 'owed', 'dl', 'end', 'et', 'ins', 'unk', 'total', 'job', 'tasks', 'st', 'g')
  if v[12] ~= NUMBER then
    touch(id)
    v = redis.call('HMGET', k, 'aside', 'owed', 'dl', 'end', 'et', 'ins', 'unk', 'total', 'job', 'tasks', 'st')
  end
  if job == '' then job = v[9] or '' end
  -- Nearly all of a long listing says what it said before: that is read, and nothing written.
  local news = v[7] or v[4] or ARGV[1] ~= v[11] or total ~= v[8] or tasks ~= v[10] or (job ~= '' and job ~= v[9])
    or ((v[5] or '') == '' and tonumber(v[6] or '') ~= inserted)
  if v[7] then
    -- The API knows it by now, whatever it said when it was asked: what waits for that need not wait any longer.
    redis.call('HDEL', k, 'unk', 'nb')
    if redis.call('HGET', k, 'pk') == 'unknown' then
      redis.call('HDEL', k, 'pk', 'pkd')
      redis.call('ZREM', P .. 'parked', id)
      audit('unparked', id, job, 'f', 'listing')
    end
    redis.call('ZADD', P .. 'owing', 'XX', NOW, id)
    redis.call('ZADD', P .. 'watched', 'XX', NOW, id)
  end
  if v[4] then
    -- Ended by our knowledge, submitted by the listing's, which may be older: a GET decides.
    redis.call('ZADD', P .. 'watched', 'NX', NOW, id)
  else
    if news then
      if total ~= (v[8] or '') or tasks ~= (v[10] or '') then redis.call('HSET', k, 'mv', int(NOW)) end
      redis.call('HSET', k, 'st', ARGV[1], 'total', total, 'tasks', tasks)
      if job ~= '' then redis.call('HSET', k, 'job', job) end
      -- `ins` belongs to the ETag that stands beside it: the listing may only fill it in where there is none.
      if (v[5] or '') == '' then redis.call('HSET', k, 'ins', int(inserted)) end
    end
    if (v[5] or '') ~= '' then inserted = tonumber(v[6] or '') or inserted end
    if v[1] and ready then
      if tonumber(v[1]) == 0 then
        redis.call('HDEL', k, 'aside')                 -- nothing was set aside, whatever the API's total
        if inserted > 0 then redis.call('HSETNX', k, 'unv', int(inserted)) end
        v[1] = false
      else redis.call('ZADD', P .. 'owing', 'NX', NOW, id) end
    end
    if tonumber(total) and tonumber(total) > 0 and inserted >= tonumber(total) and (tonumber(v[2]) or 0) == 0 and not v[3] and not v[1] then
      redis.call('ZADD', P .. 'watched', NOW, id)
    end
    if redis.call('ZADD', P .. 'followed', 'NX', NOW, id) == 1 then
      new = new + 1
      redis.call('ZADD', P .. 'progress', 'NX', NOW, id)
      audit('registered', id, job, 'f', 'listing')
    end
    if total ~= '' and total ~= (v[8] or '') then audit('total', id, job, 'n', total, 'b', v[8]) end
  end
end
return {'OK', int(new)}
