-- Give a job's lock back. ARGV: job, token, outcome (done | not ready | later | parked), wanted as taken, state, reason, delay (ms), remember (ms)
local no = refusal()
if no then return no end
local job, outcome = ARGV[1], ARGV[3]
local k = P .. 'j:' .. job
local v = redis.call('HMGET', k, 'token', 'wanted', 'st', 'ended')
if v[1] ~= ARGV[2] then return LOST end
redis.call('HDEL', k, 'token', 'until')
redis.call('HSET', k, 'st', ARGV[5], 'why', ARGV[6])
if outcome == 'later' then
  fails(job)
  redis.call('PERSIST', k)
  redis.call('HINCRBY', k, 'tries', 1)
  redis.call('ZADD', P .. 'jobs', NOW + tonumber(ARGV[7]), job)
elseif v[2] ~= ARGV[4] then
  redis.call('ZREM', P .. 'failing_jobs', job)
  redis.call('ZADD', P .. 'jobs', NOW, job)            -- another instance of it ended meanwhile: look again
else
  redis.call('ZREM', P .. 'jobs', job)
  redis.call('ZREM', P .. 'failing_jobs', job)
  redis.call('HDEL', k, 'tries')
  if outcome == 'done' then
    redis.call('HDEL', k, 'sent', 'open')
    if v[4] ~= ARGV[5] then
      local what = ARGV[5] == 'completed' and 'completed' or 'failed'
      redis.call('HSET', k, 'ended', ARGV[5])
      tally('jobs:' .. what)
      audit('job_' .. what, '', job, 's', what == 'completed' and '' or ARGV[5])
    end
  end
  if outcome == 'parked' and not redis.call('ZSCORE', P .. 'parked_jobs', job) then audit('job_parked', '', job, 'y', ARGV[6]) end
  if outcome == 'parked' then redis.call('ZADD', P .. 'parked_jobs', NOW, job) else redis.call('ZREM', P .. 'parked_jobs', job) end
  redis.call('PEXPIRE', k, ARGV[8])
  redis.call('ZREMRANGEBYSCORE', P .. 'parked_jobs', '-inf', NOW - tonumber(ARGV[8]))
end
changed()
return {'OK', v[2] ~= ARGV[4] and '1' or '0'}
