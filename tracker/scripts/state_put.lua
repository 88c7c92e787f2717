-- A PUT of a state is about to be sent, unless an older copy may still be on its way; or it turned out that none left.
-- ARGV: instance, token, lease (ms), what (send | never left), how long a copy can be on its way (ms, "" where If-Match holds it back),
-- job ("" for none): to be looked at whatever comes of the PUT, whose sender may die before it is known
-- Reply: OK, how long to wait instead (ms, "" for not at all)
local no = refusal()
if no then return no end
local k = held(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if not k then return LOST end
if ARGV[4] == 'never left' then
  redis.call('HDEL', k, 'ps')
  return {'OK', ''}
end
local last = tonumber(redis.call('HGET', k, 'ps') or nil)
if last and last > NOW then last = NOW end
if last and ARGV[5] ~= '' and NOW - last < tonumber(ARGV[5]) then return {'OK', int(last + tonumber(ARGV[5]) - NOW)} end
redis.call('HSET', k, 'ps', int(NOW))
expect(ARGV[6])
changed()
return {'OK', ''}
