-- Turn what an instance owes into a dead letter. Held by a worker (the instance is published), or parked longer than anybody waits.
-- ARGV: instance, token ("" when parked and overdue), reason, parked longest (ms), how long to remember it (ms), lease (ms), the most
--   dead letters. Reply: OK, count buried
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = P .. 'i:' .. id
if ARGV[2] ~= '' then
  if not held(id, ARGV[2], tonumber(ARGV[6])) then return LOST end
else
  local v = redis.call('HMGET', k, 'g', 'pkd', 'lu')
  if v[1] ~= NUMBER or not v[2] then
    redis.call('ZREM', P .. 'parked', id)              -- gone, or looked at again since: nothing to wait for
    return {'OK', '0'}
  end
  if tonumber(v[2]) + tonumber(ARGV[4]) > NOW or (tonumber(v[3]) or 0) > NOW then return {'OK', '0'} end
end
local v = redis.call('HMGET', k, 'owed', 'dl', 'why', 'job')
local owed = tonumber(v[1]) or 0
if owed > 0 and letters_full(ARGV[7]) then return refuse_letters(ARGV[7]) end
local reason = ARGV[3]
if v[2] then reason = reason .. '; perhaps counted: ' .. v[2] .. ' of it had been sent and no answer told whether it was applied' end
if owed > 0 then
  local letter = bury('what', 'counts', 'instance', id, 'count', int(owed), 'perhaps', v[2] or '0', 'reason', reason, 'job', v[4] or '')
  audit('buried', id, v[4], 'd', letter, 'n', int(owed), 'y', reason)
end
owes(id, owed, 0)
redis.call('ZREM', P .. 'intents', id)
redis.call('HDEL', k, 'owed', 'dl', 'bf', 'im', 'sent', 'pk', 'pkd', 'unk')
redis.call('ZREM', P .. 'owing', id)
redis.call('ZREM', P .. 'parked', id)
if ARGV[2] == '' then
  redis.call('HSET', k, 'end', int(NOW))
  redis.call('ZREM', P .. 'followed', id)
  redis.call('ZREM', P .. 'watched', id)
  redis.call('ZADD', P .. 'finished', NOW, id)
  redis.call('PEXPIRE', k, ARGV[5])
end
changed()
return {'OK', int(owed)}
