-- A partition that is new to this ledger, or a new epoch of one.
-- ARGV: ledger, topic, partition, epoch, next, horizon ("" for none), 1 when it takes the place of an epoch, that epoch
-- Reply: OK, next of the epoch in force, which is another when the evidence was out of date
local no = refusal()
if no then return no end
if ID ~= ARGV[1] then return {'OTHER', ID} end
if not tonumber(ARGV[5]) or (ARGV[6] ~= '' and not tonumber(ARGV[6])) then return {'ERROR', 'next and horizon must be numbers'} end
local name = ARGV[2] .. ':' .. ARGV[3]
local part = P .. 'part:' .. name .. ':' .. ARGV[4]
local epoch = redis.call('HGET', P .. 'partitions', name)
local expected = ARGV[7] == '1' and ARGV[8]
if epoch == ARGV[4] or epoch ~= expected then
  return {'OK', epoch and redis.call('HGET', P .. 'part:' .. name .. ':' .. epoch, 'next') or '0'}
end
if epoch then
  -- Late batches of the topic that was deleted still count for a day; what lies below its horizon is still not simply owed.
  local old = P .. 'part:' .. name .. ':' .. epoch
  if redis.call('HEXISTS', old, 'horizon') == 1 then redis.call('HINCRBY', P .. 'ledger', 'unpassed', -1) end
  redis.call('HSET', old, 'old', '1')
  redis.call('EXPIRE', old, 86400)
  redis.call('EXPIRE', P .. 'marks:' .. name .. ':' .. epoch, 86400)
end
redis.call('HSET', P .. 'partitions', name, ARGV[4])
audit('epoch', '', '', 'p', name, 'e', ARGV[4], 'b', epoch or '', 'a', ARGV[5])
redis.call('PERSIST', P .. 'marks:' .. name .. ':' .. ARGV[4])
if redis.call('EXISTS', part) == 1 then
  redis.call('PERSIST', part)                          -- never begin an epoch twice: its records would count again
else
  redis.call('HSET', part, 'next', ARGV[5])
  if ARGV[6] ~= '' and tonumber(ARGV[6]) > tonumber(ARGV[5]) then
    redis.call('HSET', part, 'horizon', ARGV[6])
    redis.call('HINCRBY', P .. 'ledger', 'unpassed', 1)
  end
end
changed()
return {'OK', redis.call('HGET', part, 'next')}
