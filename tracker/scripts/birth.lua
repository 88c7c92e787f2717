-- A new ledger, if the one in force is still the expected one.
-- ARGV: expected id ("" for none), number, random part, settle (ms), reason, then per partition: topic, partition, epoch, next, horizon ("" for none)
if (ID or '') ~= ARGV[1] then return {'OTHER', ID or ''} end
if ID and LEDGER[4] ~= FORMAT then return refusal() end
if ID and tonumber(ARGV[2]) <= tonumber(NUMBER) then return {'ERROR', 'the number of a new ledger must be above ' .. NUMBER} end
if (#ARGV - 5) % 5 ~= 0 then return {'ERROR', 'five values a partition'} end
local run, err = run_id()
if not run then return {'NO_RUN_ID', 'INFO server: ' .. (err or 'no run_id')} end
for n = 6, #ARGV, 5 do
  if not tonumber(ARGV[n + 3]) or (ARGV[n + 4] ~= '' and not tonumber(ARGV[n + 4])) then return {'ERROR', 'next and horizon must be numbers'} end
end
local id = ARGV[2] .. '-' .. ARGV[3]
-- Kafka does not know counts by hand: who owes some is taken up though no record names it, and no listing.
local by_hand = {}
for _, list in ipairs({'owing', 'parked', 'leisure'}) do
  for _, instance in ipairs(redis.call('ZRANGE', P .. list, 0, -1)) do
    local v = redis.call('HMGET', P .. 'i:' .. instance, 'ho', 'hb')
    if v[1] or v[2] then by_hand[#by_hand + 1] = instance end
  end
end
local old = redis.call('HGETALL', P .. 'partitions')
for n = 1, #old, 2 do redis.call('DEL', P .. 'part:' .. old[n] .. ':' .. old[n + 1]) end
redis.call('DEL', P .. 'partitions', P .. 'owing', P .. 'watched', P .. 'leisure', P .. 'parked', P .. 'sync', P .. 'owed', P .. 'intents')
for _, instance in ipairs(by_hand) do redis.call('ZADD', P .. 'leisure', NOW, instance) end
local unpassed = 0
for n = 6, #ARGV, 5 do
  local name = ARGV[n] .. ':' .. ARGV[n + 1]
  local part = P .. 'part:' .. name .. ':' .. ARGV[n + 2]
  redis.call('HSET', P .. 'partitions', name, ARGV[n + 2])
  redis.call('DEL', part)
  redis.call('HSET', part, 'next', ARGV[n + 3])
  -- What lies beyond the end is another record by now.
  if ARGV[n + 4] ~= '' then redis.call('ZREMRANGEBYSCORE', P .. 'marks:' .. name .. ':' .. ARGV[n + 2], ARGV[n + 4], '+inf') end
  redis.call('PERSIST', P .. 'marks:' .. name .. ':' .. ARGV[n + 2])
  if ARGV[n + 4] ~= '' and tonumber(ARGV[n + 4]) > tonumber(ARGV[n + 3]) then
    redis.call('HSET', part, 'horizon', ARGV[n + 4])
    unpassed = unpassed + 1
  end
end
redis.call('HSET', P .. 'ledger', 'id', id, 'number', ARGV[2], 'version', '1', 'format', FORMAT, 'run', run, 'born', int(NOW), 'settle', ARGV[4],
  'unpassed', int(unpassed), 'reason', ARGV[5], 'owed', '0')
redis.call('HDEL', P .. 'ledger', 'void')
redis.call('XADD', P .. 'births', 'MAXLEN', '1000', '*', 'id', id, 'before', ARGV[1], 'reason', ARGV[5])
tally('births')
audit('birth', '', '', 'g', id, 'b', ARGV[1], 'y', ARGV[5])
return {'OK', id}
