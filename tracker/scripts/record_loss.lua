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
redis.call('XADD', P .. 'losses', '*', 'at', int(NOW), 'topic', ARGV[2], 'partition', ARGV[3], 'epoch', ARGV[4], 'start', int(start), 'end', int(stop),
  'reason', ARGV[7])
tally('losses')
tally('records_lost', int(stop - start))
audit('loss', '', '', 'p', ARGV[2] .. ':' .. ARGV[3], 'b', int(start), 'a', int(stop), 'y', ARGV[7])
local nxt = extend(part, p, start, stop, '')
changed()
return {'OK', int(nxt)}
