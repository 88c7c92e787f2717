-- A PUT of a state is about to be sent. ARGV: instance, token, lease (ms). Reply: OK, when the last one was sent (ms ago, "" for never)
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
local last = tonumber(redis.call('HGET', k, 'ps') or nil)
if last and last > NOW then last = NOW end
redis.call('HSET', k, 'ps', int(NOW))
changed()
return {'OK', last and int(NOW - last) or ''}
