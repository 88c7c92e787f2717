-- Take a job's lock. ARGV: job, token, lease (ms). Reply: OK, wanted, sent (ms ago, "" for never), open copies, tries
local no = refusal()
if no then return no end
local k = P .. 'j:' .. ARGV[1]
local v = redis.call('HMGET', k, 'token', 'until', 'wanted', 'sent', 'open', 'tries')
local lock = tonumber(v[2]) or 0
if not v[3] then return {'NONE', ''} end
if lock > NOW and lock <= NOW + tonumber(ARGV[3]) then return {'BUSY', int(lock - NOW)} end
if v[1] then
  fails(ARGV[1])
  redis.call('HSET', k, 'why', 'the last look at it did not come to an end')
end
redis.call('HSET', k, 'token', ARGV[2], 'until', int(NOW + tonumber(ARGV[3])))
local sent = tonumber(v[4])
if sent and sent > NOW then sent = NOW end
return {'OK', v[3], sent and int(NOW - sent) or '', v[5] or '0', v[6] or '0'}
