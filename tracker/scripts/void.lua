-- A person wants the ledger born anew: from here on everything is refused, until a bridge has given birth to the next one.
-- ARGV: reason, who ("" for not told), the ledger that is meant ("" for the one in force). Works unverified. Reply: OK, the id of the ledger that is void now
if not ID then return {'NO_LEDGER', 'no ledger yet: there is nothing to recover'} end
if LEDGER[4] ~= FORMAT then return refusal() end
if ARGV[3] ~= '' and ARGV[3] ~= ID then return {'LOST', 'ledger ' .. ID .. ' is in force now'} end
if ARGV[1] == '' then return {'ERROR', 'a reason is needed'} end
redis.call('HSET', P .. 'ledger', 'void', ARGV[1], 'run', 'void: ' .. ARGV[1])
changed()
audit('void', '', '', 'g', ID, 'y', ARGV[1], 'u', ARGV[2])
return {'OK', ID}
