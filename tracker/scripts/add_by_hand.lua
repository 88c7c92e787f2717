-- One count by hand, once per key. ARGV: instance, count, key, how long a key is remembered (ms), kick (ms), who ("" for not told). Reply: OK, 1 when added now, 1 to push
local no = refusal()
if no then return no end
local id, count = ARGV[1], tonumber(ARGV[2])
if id == '' then return {'ERROR', 'the instance id is empty'} end
if not count or count < 0 or math.floor(count) ~= count or count > 2147483647 then return {'ERROR', 'the count must be 0 … 2147483647'} end
if redis.call('EXISTS', P .. 'k:' .. ARGV[3]) == 1 then return {'OK', '0', '0'} end
redis.call('SET', P .. 'k:' .. ARGV[3], id .. ' ' .. int(count), 'PX', ARGV[4])
local wake = false
if count > 0 then
  wake = owe(id, count, tonumber(ARGV[5]))
  -- Kafka does not know these: a birth adds them to what it sets aside.
  redis.call('HINCRBY', P .. 'i:' .. id, 'hand', int(count))
  redis.call('HINCRBY', P .. 'i:' .. id, 'ho', int(count))
end
changed()
audit('by_hand', id, redis.call('HGET', P .. 'i:' .. id, 'job') or '', 'n', int(count), 'k', ARGV[3], 'u', ARGV[6])
return {'OK', '1', wake and '1' or '0'}
