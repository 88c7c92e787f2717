-- Note what a GET showed; after a birth, settle what had been set aside.
-- ARGV: instance, token, lease (ms), state, job, total ("" for none), inserted, etag, open tasks, 1 when completed or past it
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local total, inserted = ARGV[6], tonumber(ARGV[7])
if not inserted then return {'ERROR', 'the inserted count must be a number'} end
local v = redis.call('HMGET', k, 'aside', 'owed', 'dl', 'pk', 'total', 'job', 'st', 'ins', 'tasks', 'hb', 'hi', 'ha')
local job = ARGV[5] ~= '' and ARGV[5] or v[6]
if ARGV[4] ~= (v[7] or '') or total ~= (v[5] or '') or inserted ~= tonumber(v[8]) or ARGV[9] ~= (v[9] or '') then redis.call('HSET', k, 'mv', int(NOW)) end
redis.call('HSET', k, 'st', ARGV[4], 'total', total, 'ins', int(inserted), 'et', ARGV[8], 'tasks', ARGV[9])
if ARGV[5] ~= '' then redis.call('HSET', k, 'job', ARGV[5]) end
redis.call('HDEL', k, 'unk')
if v[4] == 'unknown' then
  redis.call('HDEL', k, 'pk', 'pkd')
  redis.call('ZREM', P .. 'parked', id)
  audit('unparked', id, job)
end
if v[1] then
  -- Once no request from before the birth can be on its way, the API's total is what of the aside has been pushed.
  -- Completed: the API itself confirmed then that everything was in, but for what was added by hand afterwards. Failed imports are counted
  -- all the same.
  local open, by_hand = ARGV[10] == '0', tonumber(v[10]) or 0
  if by_hand > 0 and v[11] and v[12] and inserted >= tonumber(v[12]) then by_hand = by_hand - tonumber(v[11]) end
  local missing = open and tonumber(v[1]) - inserted or by_hand
  if missing > 0 then
    local owed = tonumber(v[2]) or 0
    set_owed(k, id, owed, owed + missing)
    redis.call('HINCRBY', k, 'counted', int(missing))
    if by_hand > 0 then redis.call('HINCRBY', k, 'ho', int(math.min(by_hand, missing))) end
  elseif missing < 0 then redis.call('HSET', k, 'unv', int(-missing)) end
  redis.call('HDEL', k, 'aside', 'hb', 'hi', 'ha')
  changed()
end
if ARGV[10] == '0' and total ~= '' and total ~= (v[5] or '') then audit('total', id, job, 'n', total, 'b', v[5]) end
return snapshot(k)
