-- Declare the ledger right for the server's present run. ARGV: ledger id
if (ID or '') ~= ARGV[1] or not ID then return {'OTHER', ID or ''} end
if LEDGER[4] ~= FORMAT then return refusal() end
if redis.call('HEXISTS', P .. 'ledger', 'void') == 1 then return {'VOID', ID} end
local run, err = run_id()
if not run then return {'NO_RUN_ID', 'INFO server: ' .. (err or 'no run_id')} end
redis.call('HSET', P .. 'ledger', 'run', run)
return {'OK', ID}
