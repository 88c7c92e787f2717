-- Note what a GET showed; after a birth, settle what had been set aside.
-- ARGV: instance, token, lease (ms), state, job, total ("" for none), inserted, etag, open tasks, 1 when completed or past it
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local total, inserted = ARGV[6], tonumber(ARGV[7])
if not inserted then return {'ERROR', 'the inserted count must be a number'} end
local v = redis.call('HMGET', k, 'aside', 'owed', 'dl', 'pk')
redis.call('HSET', k, 'st', ARGV[4], 'total', total, 'ins', int(inserted), 'et', ARGV[8], 'tasks', ARGV[9])
if ARGV[5] ~= '' then redis.call('HSET', k, 'job', ARGV[5]) end
redis.call('HDEL', k, 'unk')
if v[4] == 'unknown' then
  redis.call('HDEL', k, 'pk', 'pkd')
  redis.call('ZREM', P .. 'parked', id)
end
if v[1] then
  -- Once no request from before the birth can be on its way, the API's total is what of the aside has been pushed.
  local missing = tonumber(v[1]) - inserted
  -- Completed: the API itself confirmed then that everything was in. Failed imports are counted all the same.
  local open = ARGV[10] == '0'
  if open and missing > 0 then
    redis.call('HSET', k, 'owed', int((tonumber(v[2]) or 0) + missing))
    redis.call('HINCRBY', k, 'counted', int(missing))
  elseif open and missing < 0 then redis.call('HSET', k, 'unv', int(-missing)) end
  redis.call('HDEL', k, 'aside')
  changed()
end
return snapshot(k)
