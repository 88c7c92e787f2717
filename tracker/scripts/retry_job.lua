-- A person has mended what a parked job waited for, or gives it up. ARGV: job, retry | drop, who, why. Reply: OK; or NOT_PARKED
local no = refusal()
if no then return no end
local job = ARGV[1]
if ARGV[2] ~= 'retry' and ARGV[2] ~= 'drop' then return {'ERROR', 'it must be retry or drop'} end
if redis.call('ZREM', P .. 'parked_jobs', job) == 0 then return {'NOT_PARKED', ''} end
local k = P .. 'j:' .. job
if ARGV[2] == 'retry' then
  redis.call('HINCRBY', k, 'wanted', 1)
  redis.call('PERSIST', k)
  redis.call('ZADD', P .. 'jobs', NOW, job)
else
  redis.call('ZREM', P .. 'jobs', job)
  redis.call('ZREM', P .. 'failing_jobs', job)
end
changed()
audit(ARGV[2] == 'retry' and 'retried' or 'given_up', '', job, 'u', ARGV[3], 'y', ARGV[4])
return {'OK', ''}
