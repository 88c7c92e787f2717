-- Kafka deleted [start, end) before it was read: it counts as applied, and is kept and shown as a loss.
-- ARGV: ledger, topic, partition, epoch, start, end, reason
local no = refusal()
if no then return no end
if ID ~= ARGV[1] then return {'OTHER', ID} end
local start, stop = tonumber(ARGV[5]), tonumber(ARGV[6])
local part = P .. 'part:' .. ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
local p = read_part(part)
if not p then return {'EPOCH', 'not known'} end
if not start or not stop or start < 0 or stop <= start then return {'ERROR', 'expected 0 <= start < end'} end
if stop <= p.next then return {'OK', int(p.next)} end
if start < p.next then start = p.next end
-- What was applied early, in the ranges above next, is no loss: only the holes between are.
table.sort(p.ranges, function(a, b) return a[1] < b[1] end)
local function lose(from, to)
  if from >= to then return end
  redis.call('XADD', P .. 'losses', '*', 'at', int(NOW), 'topic', ARGV[2], 'partition', ARGV[3], 'epoch', ARGV[4], 'start', int(from), 'end', int(to),
    'reason', ARGV[7])
  tally('losses')
  tally('records_lost', int(to - from))
  audit('loss', '', '', 'p', ARGV[2] .. ':' .. ARGV[3], 'b', int(from), 'a', int(to), 'y', ARGV[7])
end
local from = start
for _, r in ipairs(p.ranges) do
  if r[2] > from and r[1] < stop then
    lose(from, r[1])
    from = r[2]
  end
end
lose(from, stop)
local nxt = extend(part, p, start, stop, '')
changed()
return {'OK', int(nxt)}
