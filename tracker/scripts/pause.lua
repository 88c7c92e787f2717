-- Pause the pushes or the bridge, or let them go on; works unverified. ARGV: pushes | bridge, 1 to pause, who, why. Reply: OK, 1 when that was new
if not ID then return {'NO_LEDGER', 'no ledger yet: there is nothing to pause'} end
if LEDGER[4] ~= FORMAT then return refusal() end
if ARGV[1] ~= 'pushes' and ARGV[1] ~= 'bridge' then return {'ERROR', 'it must be pushes or bridge'} end
local field = 'paused_' .. ARGV[1]
local there = redis.call('HEXISTS', P .. 'ledger', field) == 1
if there == (ARGV[2] == '1') then return {'OK', '0'} end
if there then redis.call('HDEL', P .. 'ledger', field)
else redis.call('HSET', P .. 'ledger', field, cjson.encode({at = int(NOW), by = ARGV[3], reason = ARGV[4]})) end
-- The version stays as it is: raised unverified, it would hide from the bridge that the ledger has lost writes.
audit(there and 'resumed' or 'paused', '', '', 'k', ARGV[1], 'u', ARGV[3], 'y', ARGV[4])
return {'OK', '1'}
