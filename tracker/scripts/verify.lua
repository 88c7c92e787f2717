-- Declare the ledger right for the server run that it was examined on, if it has not gone back since.
-- ARGV: ledger id, run, version as examined
if (ID or '') ~= ARGV[1] or not ID then return {'OTHER', ID or ''} end
if LEDGER[4] ~= FORMAT then return refusal() end
if redis.call('HEXISTS', P .. 'ledger', 'void') == 1 then return {'VOID', ID} end
local run, err = run_id()
if not run then return {'NO_RUN_ID', 'INFO server: ' .. (err or 'no run_id')} end
if run ~= ARGV[2] or tonumber(LEDGER[3]) < tonumber(ARGV[3]) then return {'OTHER', ID} end
if LEDGER[5] ~= run then audit('verified', '', '', 'g', ID) end
redis.call('HSET', P .. 'ledger', 'run', run)
return {'OK', ID}
