-- Write down what is about to be sent. ARGV: instance, token, lease (ms), inserted before, etag ("" for none). Reply: a snapshot
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local v = redis.call('HMGET', k, 'owed', 'dl', 'aside')
local owed = tonumber(v[1]) or 0
if v[2] then return {'ERROR', 'an intent is open already'} end
if v[3] then return {'ERROR', 'not settled since the birth'} end
if owed <= 0 then return {'ERROR', 'nothing is owed'} end
if not tonumber(ARGV[4]) then return {'ERROR', 'the count before must be a number'} end
open_intent(ARGV[1], k, owed, ARGV[4], ARGV[5])
return snapshot(k)
