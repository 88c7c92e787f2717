-- A partition that is new to this ledger, or a new epoch of one. ARGV: ledger, topic, partition, epoch, next, horizon ("" for none)
local no = refusal()
if no then return no end
if ID ~= ARGV[1] then return {'OTHER', ID} end
if not tonumber(ARGV[5]) or (ARGV[6] ~= '' and not tonumber(ARGV[6])) then return {'ERROR', 'next and horizon must be numbers'} end
local name = ARGV[2] .. ':' .. ARGV[3]
local part = P .. 'part:' .. name .. ':' .. ARGV[4]
local epoch = redis.call('HGET', P .. 'partitions', name)
if epoch == ARGV[4] then return {'OK', redis.call('HGET', part, 'next')} end
if epoch then
  -- Late batches of the topic that was deleted still count for a day.
  local old = P .. 'part:' .. name .. ':' .. epoch
  if redis.call('HEXISTS', old, 'horizon') == 1 then
    redis.call('HDEL', old, 'horizon')
    redis.call('HINCRBY', P .. 'ledger', 'unpassed', -1)
  end
  redis.call('EXPIRE', old, 86400)
end
redis.call('HSET', P .. 'partitions', name, ARGV[4])
redis.call('DEL', part)
redis.call('HSET', part, 'next', ARGV[5])
if ARGV[6] ~= '' and tonumber(ARGV[6]) > tonumber(ARGV[5]) then
  redis.call('HSET', part, 'horizon', ARGV[6])
  redis.call('HINCRBY', P .. 'ledger', 'unpassed', 1)
end
changed()
return {'OK', ARGV[5]}
