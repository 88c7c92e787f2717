-- Take an instance's lock. ARGV: instance, token, lease (ms), force (1: a person asks, so no back-off and no parking stands in the way),
-- who ("" for not told), push (1: also write down what is about to be sent, where nothing has to be looked at before).
-- Reply: a snapshot, behind it 1 where an intent was opened
local no = refusal()
if no then return no end
local id, lease, force = ARGV[1], tonumber(ARGV[3]), ARGV[4] == '1'
local ready = ready_at()
if not ready or ready > NOW then return {'NOT_READY', ready and int(ready - NOW) or ''} end
if redis.call('EXISTS', P .. 'i:' .. id) == 0 then return {'NONE', ''} end
local k = touch(id)
local v = redis.call('HMGET', k, 'lu', 'nb', 'pk', 'sent')
local lock, due = tonumber(v[1]) or 0, tonumber(v[2]) or 0
-- A lock or a wait further off than any can be comes from a clock that ran ahead: it does not count.
if lock > NOW and lock <= NOW + lease then return {'BUSY', int(lock - NOW)} end
if not force then
  if due > NOW and due <= NOW + 3600000 then return {'LATER', int(due - NOW)} end
  if v[3] and v[3] ~= 'unknown' then return {'PARKED', ''} end
elseif v[3] and v[3] ~= 'unknown' then
  redis.call('HDEL', k, 'pk', 'pkd')
  redis.call('ZREM', P .. 'parked', id)
  redis.call('ZADD', P .. 'owing', 'NX', NOW, id)        -- should whoever takes it now die, the check finds it; release takes it out
  audit('unparked', id, redis.call('HGET', k, 'job'), 'f', 'hand', 'u', ARGV[5])
end
if v[4] and tonumber(v[4]) > NOW then redis.call('HSET', k, 'sent', int(NOW)) end
redis.call('HSET', k, 'lk', ARGV[2], 'lu', int(NOW + lease))
redis.call('HDEL', k, 'k', 'nb')
local opened = false
if ARGV[6] == '1' then
  local w = redis.call('HMGET', k, 'owed', 'dl', 'aside', 'et', 'ins')
  if (tonumber(w[1]) or 0) > 0 and not w[2] and not w[3] and w[4] and w[4] ~= '' and tonumber(w[5]) then
    opened = true
    open_intent(id, k, w[1], w[5], w[4])
  end
end
local reply = snapshot(k)
if opened then reply[18] = '1' end
return reply
