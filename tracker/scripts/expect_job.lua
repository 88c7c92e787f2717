-- A job whose state must be looked at, now or again. ARGV: job
local no = refusal()
if no then return no end
if ARGV[1] == '' then return {'ERROR', 'the job id is empty'} end
redis.call('HINCRBY', P .. 'j:' .. ARGV[1], 'wanted', 1)
redis.call('PERSIST', P .. 'j:' .. ARGV[1])
redis.call('ZADD', P .. 'jobs', NOW, ARGV[1])
changed()
return {'OK'}
