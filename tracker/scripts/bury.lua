-- Turn what an instance owes into a dead letter. Held by a worker (the instance is published), or parked longer than anybody waits.
-- ARGV: instance, token ("" when parked and overdue), reason, parked longest (ms), how long to remember it (ms), lease (ms), the most
--   dead letters, who ("" for nobody). Reply: OK, count buried, 1 when it is parked no more
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
    return {'OK', '0', '0'}
  end
  if tonumber(v[2]) + tonumber(ARGV[4]) > NOW or (tonumber(v[3]) or 0) > NOW then return {'OK', '0', '0'} end
end
local v = redis.call('HMGET', k, 'owed', 'dl', 'why', 'job', 'aside', 'ho', 'hand')
local owed = tonumber(v[1]) or 0
-- What a birth has set aside and no GET could be compared with: the API may have it.
local aside = ARGV[2] == '' and tonumber(v[5]) or 0
local count, perhaps = owed + aside, (tonumber(v[2]) or 0) + aside
if count > 0 and letters_full(ARGV[7]) then return refuse_letters(ARGV[7]) end
local reason = ARGV[3]
if v[2] then reason = reason .. '; perhaps counted: ' .. v[2] .. ' of it had been sent and no answer told whether it was applied' end
if aside > 0 then reason = reason .. '; perhaps counted: ' .. int(aside) .. ' of it could not be compared with the API since the birth' end
if count > 0 then
  -- Where nothing but counts by hand can be in it, no birth reads it again.
  local by_hand = count == tonumber(v[5] and ARGV[2] == '' and v[7] or v[6] or nil) and '1' or ''
  local letter = bury('what', 'counts', 'instance', id, 'count', int(count), 'perhaps', int(perhaps), 'reason', reason, 'job', v[4] or '',
    'by_hand', by_hand)
  audit('buried', id, v[4], 'd', letter, 'n', int(count), 'y', reason, 'u', ARGV[8])
elseif ARGV[2] == '' then audit('given_up', id, v[4], 'u', ARGV[8], 'y', reason)
end
owes(id, owed, 0)
redis.call('ZREM', P .. 'intents', id)
redis.call('HDEL', k, 'owed', 'dl', 'bf', 'im', 'sent', 'pk', 'pkd', 'unk', 'ho', 'hi')
redis.call('ZREM', P .. 'owing', id)
redis.call('ZREM', P .. 'parked', id)
if ARGV[2] == '' then
  redis.call('HDEL', k, 'aside', 'hb', 'ha')
  redis.call('ZREM', P .. 'leisure', id)
  redis.call('HSET', k, 'end', int(NOW))
  redis.call('ZREM', P .. 'followed', id)
  redis.call('ZREM', P .. 'watched', id)
  redis.call('ZADD', P .. 'finished', NOW, id)
  redis.call('PEXPIRE', k, ARGV[5])
end
changed()
return {'OK', int(count), '1'}
