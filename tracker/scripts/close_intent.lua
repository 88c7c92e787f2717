-- Close the open intent. ARGV: instance, token, lease (ms), outcome (applied | not applied), etag after it ("" for unknown),
-- how that was learnt (answered | not sent | turned away | refused | read back),
-- release (1: also give the lock back, where nothing is left to do before the next count), rest (ms). Reply: a snapshot, behind it 1 where it was given back
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local v = redis.call('HMGET', k, 'dl', 'bf', 'owed', 'job', 'hi', 'ho')
if not v[1] then return {'ERROR', 'no intent is open'} end
if ARGV[4] ~= 'applied' and ARGV[4] ~= 'not applied' then return {'ERROR', 'the outcome must be applied or not applied'} end
local back = ARGV[6] == 'read back'
if ARGV[4] == 'applied' then
  local delta, owed = tonumber(v[1]), tonumber(v[3])
  local inserted = int(tonumber(v[2]) + delta)
  redis.call('HSET', k, 'ins', inserted, 'et', ARGV[5], 'mv', int(NOW))
  set_owed(k, ARGV[1], owed, owed - delta)
  if v[5] then
    if v[5] == v[6] then redis.call('HDEL', k, 'ho') else redis.call('HINCRBY', k, 'ho', '-' .. v[5]) end
  end
  -- Until then what gathers goes together, unless it brings the total.
  if tonumber(ARGV[8]) > 0 then redis.call('HSET', k, 'rs', int(NOW + tonumber(ARGV[8]))) end
  tally('pushed', delta)
  tally(back and 'push:read back applied' or 'push:applied')
  audit('pushed', ARGV[1], v[4], 'n', int(delta), 'a', inserted, 'k', back and 'read back' or '')
else
  redis.call('HSET', k, 'et', ARGV[5])
  tally(back and 'push:read back not applied' or 'push:' .. ARGV[6])
end
redis.call('ZREM', P .. 'intents', ARGV[1])
redis.call('HDEL', k, 'dl', 'bf', 'im', 'sent', 'hi')
changed()
local reply = snapshot(k)
if ARGV[7] == '1' and ARGV[4] == 'applied' then
  local w = redis.call('HMGET', k, 'owed', 'aside', 'pk', 'end', 'st', 'total', 'ins', 'rs')
  local total = tonumber(w[6] or '') or 0
  local owed, rests = tonumber(w[1]), tonumber(ARGV[8]) > 0
  if (owed <= 0 or rests) and not w[2] and not w[3] and not w[4] and w[5] == 'submitted' and total > tonumber(w[7]) + owed then
    -- As release.lua does where all is well.
    redis.call('HDEL', k, 'lk', 'lu', 'why', 'tr', 'nb')
    redis.call('ZREM', P .. 'watched', ARGV[1])
    redis.call('ZREM', P .. 'leisure', ARGV[1])
    if owed <= 0 then redis.call('ZREM', P .. 'owing', ARGV[1]) else redis.call('ZADD', P .. 'owing', w[8], ARGV[1]) end
    reply[18] = '1'
  end
end
return reply
