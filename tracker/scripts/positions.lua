-- What is applied. ARGV: "topic:partition" … Reply: OK, id, version, verified, dead letters, 1 when the bridge is paused, then per known partition: name, epoch, next, passed
local run = run_id() or ''
local out = {'OK', ID or '', LEDGER[3] or '0', ID and LEDGER[5] == run and '1' or '0', int(redis.call('XLEN', P .. 'dead')), LEDGER[11] and '1' or '0'}
for _, name in ipairs(ARGV) do
  local epoch = redis.call('HGET', P .. 'partitions', name)
  if epoch then
    local v = redis.call('HMGET', P .. 'part:' .. name .. ':' .. epoch, 'next', 'horizon')
    for _, x in ipairs({name, epoch, v[1] or '0', v[2] and '0' or '1'}) do out[#out + 1] = x end
  end
end
return out
