-- Kafka no longer holds these records, so no birth reads them again: what was remembered of their dead letters can go.
-- Then the marks of an epoch that is gone expire after a day, as its late batches do. ARGV per partition: topic, partition, epoch, oldest offset
local no = refusal()
if no then return no end
if #ARGV % 4 ~= 0 then return {'ERROR', 'four values a partition'} end
local epochs = {}
for n = 1, #ARGV, 4 do
  if not tonumber(ARGV[n + 3]) then return {'ERROR', 'the oldest offset must be a number'} end
  epochs[ARGV[n] .. ':' .. ARGV[n + 1]] = {ARGV[n + 2], ARGV[n + 3]}
end
local forgotten = 0
for _, name in ipairs(redis.call('SMEMBERS', P .. 'marked')) do
  local partition, epoch = string.match(name, '^(.*:%d+):([^:]*)$')
  local there = epochs[partition]
  local key = P .. 'marks:' .. name
  if there and there[1] == epoch then forgotten = forgotten + redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. there[2])
  elseif there and redis.call('TTL', key) == -1 then redis.call('EXPIRE', key, 86400) end
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', P .. 'marked', name) end
end
return {'OK', int(forgotten)}
