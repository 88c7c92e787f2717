-- The database has the history up to an entry. ARGV: its id. Works unverified. Reply: OK, 1 when that is so of this history
local newest = redis.call('XREVRANGE', P .. 'history', '+', '-', 'COUNT', 1)[1]
-- Redis has lost its data since the entry was read: what it has now may have lower ids, and is drained from its beginning.
if not newest or older(newest[1], ARGV[1]) then return {'OK', '0'} end
local drained = redis.call('HGET', P .. 'history_state', 'drained')
if not drained or older(drained, ARGV[1]) or older(newest[1], drained) then redis.call('HSET', P .. 'history_state', 'drained', ARGV[1]) end
return {'OK', '1'}
