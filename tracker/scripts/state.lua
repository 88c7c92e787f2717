-- The ledger and its partitions as they stand; works unverified. ARGV: topics wanted.
local run, err = run_id()
if not run then return {'NO_RUN_ID', 'INFO server: ' .. (err or 'no run_id')} end
local wanted = {}
for _, topic in ipairs(ARGV) do wanted[topic] = true end
local out = {'OK', ID or '', NUMBER or '0', LEDGER[3] or '0', LEDGER[5] == run and '1' or '0', LEDGER[4] or FORMAT, redis.call('HGET', P .. 'ledger', 'void') or '', run}
local epochs = redis.call('HGETALL', P .. 'partitions')
for n = 1, #epochs, 2 do
  local topic, partition = string.match(epochs[n], '^(.*):(%d+)$')
  if wanted[topic] then
    local v = redis.call('HMGET', P .. 'part:' .. epochs[n] .. ':' .. epochs[n + 1], 'next', 'checksum', 'horizon')
    for _, x in ipairs({topic, partition, epochs[n + 1], v[1] or '0', v[2] or '', v[3] or ''}) do out[#out + 1] = x end
  end
end
return out
