-- The instance has ended; give its lock back. ARGV: instance, token, state, how long to remember it (ms), kick (ms),
-- job ("" for none): to be looked at
-- Reply: OK, 1 when it owes something all the same and should be pushed
local no = refusal()
if no then return no end
local id = ARGV[1]
local k = held(id, ARGV[2], 1000)
if not k then return LOST end
local v = redis.call('HMGET', k, 'owed', 'dl', 'aside', 'hand', 'counted', 'end', 'job', 'last', 'st', 'ps')
local more = (tonumber(v[1]) or 0) > 0 or v[2]
redis.call('HDEL', k, 'lk', 'lu', 'why', 'tr', 'nb', 'ps', 'aside')
redis.call('HSET', k, 'st', ARGV[3], 'end', v[6] and v[9] == ARGV[3] and v[6] or int(NOW))
redis.call('ZREM', P .. 'followed', id)
redis.call('ZREM', P .. 'watched', id)
-- Of a state that we have put ourselves it has not ended long ago.
local leisure = redis.call('ZREM', P .. 'leisure', id) == 1 and not v[10]
-- An import of long ago that is only read again at a birth, and one that had ended and was looked at again, have not ended now.
if (not v[6] or v[9] ~= ARGV[3]) and (v[5] or not leisure) then
  local failed = ARGV[3] == 'failed' or ARGV[3] == 'error'
  local what = failed and 'failed' or ARGV[3] == 'completed' and 'completed' or 'ended'
  tally('instances:' .. what)
  if what == 'completed' and v[8] then took(NOW - tonumber(v[8])) end
  audit(what, id, v[7], 's', what == 'completed' and '' or ARGV[3], 'c', v[5], 'l', v[8])
end
expect(ARGV[6])
if v[7] and v[7] ~= ARGV[6] then expect(v[7]) end        -- named while the PUT was under way
changed()
if more then
  redis.call('HSET', k, 'k', int(NOW + tonumber(ARGV[5])))
  redis.call('ZADD', P .. 'owing', NOW, id)
  return {'OK', '1'}
end
redis.call('ZREM', P .. 'owing', id)
if leisure and not v[5] and (tonumber(v[4]) or 0) == 0 then
  redis.call('DEL', k)                                 -- an import of long ago, read again at a birth
else
  redis.call('PEXPIRE', k, ARGV[4])
  redis.call('ZADD', P .. 'finished', NOW, id)
end
redis.call('ZREMRANGEBYSCORE', P .. 'finished', '-inf', NOW - tonumber(ARGV[4]))
return {'OK', '0'}
