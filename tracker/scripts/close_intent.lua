-- Close the open intent. ARGV: instance, token, lease (ms), outcome (applied | not applied), etag after it ("" for unknown),
-- how that was learnt (answered | not sent | turned away | refused | read back). Reply: a snapshot
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local v = redis.call('HMGET', k, 'dl', 'bf', 'owed', 'job')
if not v[1] then return {'ERROR', 'no intent is open'} end
if ARGV[4] ~= 'applied' and ARGV[4] ~= 'not applied' then return {'ERROR', 'the outcome must be applied or not applied'} end
local back = ARGV[6] == 'read back'
if ARGV[4] == 'applied' then
  local delta, owed = tonumber(v[1]), tonumber(v[3])
  local inserted = int(tonumber(v[2]) + delta)
  redis.call('HSET', k, 'ins', inserted, 'et', ARGV[5], 'mv', int(NOW))
  set_owed(k, ARGV[1], owed, owed - delta)
  tally('pushed', delta)
  tally(back and 'push:read back applied' or 'push:applied')
  audit('pushed', ARGV[1], v[4], 'n', int(delta), 'a', inserted, 'k', back and 'read back' or '')
else
  redis.call('HSET', k, 'et', ARGV[5])
  tally(back and 'push:read back not applied' or 'push:' .. ARGV[6])
end
redis.call('ZREM', P .. 'intents', ARGV[1])
redis.call('HDEL', k, 'dl', 'bf', 'im', 'sent')
changed()
return snapshot(k)
