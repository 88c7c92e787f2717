-- Count a dead letter after all, once: it is gone in the same moment.
-- ARGV: letter, what an undecodable one means (counts | registrations, "" for one that says it itself), instance, count, job ("" for unknown),
--   1 to count what has perhaps been counted, states that are an end (comma-separated), who, why
-- Reply: OK, instance, count, 1 while the instance is parked; or GONE; or PERHAPS, why it may have been counted already
local no = refusal()
if no then return no end
local letter = ARGV[1]
local f, refused = read_letter(letter)
if not f then return refused end
local means, id, count, job = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if f.what == 'counts' then means, id, count, job = 'counts', f.instance, tonumber(f.count), f.job or ''
elseif means ~= 'counts' and means ~= 'registrations' then return {'ERROR', 'what an undecodable record means must be counts or registrations'} end
if id == '' then return {'ERROR', 'the instance id is empty'} end
if means == 'counts' and (not count or count < 0 or math.floor(count) ~= count) then return {'ERROR', 'the count must be a whole number from 0 on'} end

local name, m = mark_of(f)
local k = P .. 'i:' .. id
-- Of counts by hand that were given up a birth keeps the sum, and reads nothing again: where nothing has touched the instance since, what the
-- API lacks of it becomes owed. Not of one that is completed: of those a birth drops what it sets aside.
local v = redis.call('HMGET', k, 'g', 'hand', 'end', 'st', 'job')
local failed = v[4] == 'failed' or v[4] == 'error'
local ended = v[3] and string.find(',' .. ARGV[7] .. ',', ',' .. (v[4] or '') .. ',', 1, true)
local untouched = f.by_hand == '1' and v[1] and v[1] ~= NUMBER and (tonumber(v[2]) or 0) >= count and (failed or not ended)
local doubts = {}
if means == 'counts' then
  if (tonumber(f.perhaps) or 0) > 0 then doubts[#doubts + 1] = f.perhaps .. ' of it may have been: ' .. (f.reason or '') end
  if not f.offset and f.hand ~= '1' and f.g ~= NUMBER and not untouched then
    doubts[#doubts + 1] = 'a birth has read its records again since, and counted them unless the API had ended the instance'
  end
  if m and m.letter == letter and m.fate == 'read' then doubts[#doubts + 1] = 'a later reading of the record could decode it and has counted it' end
  if f.doubt then doubts[#doubts + 1] = f.doubt end
  local unv = redis.call('HMGET', k, 'g', 'unv')
  if f.offset and unv[1] == NUMBER and unv[2] then
    doubts[#doubts + 1] = 'the API has ' .. unv[2] .. ' observations of the instance that Kafka does not explain'
  end
end
if #doubts > 0 and ARGV[6] ~= '1' then return {'PERHAPS', table.concat(doubts, '; ')} end

redis.call('XDEL', P .. 'dead', letter)
if means == 'registrations' then register(id, job, 'hand', ARGV[8])
else
  -- An instance given up is followed again; one that has ended at the API stays as it is.
  touch(id)
  if v[3] and not ended then
    redis.call('HDEL', k, 'end')
    redis.call('PERSIST', k)                             -- else it would expire with what it owes: owe() looks at end
    follow(id)
  end
  if job ~= '' and not v[5] then redis.call('HSET', k, 'job', job) end
  if untouched then redis.call('ZADD', P .. 'leisure', NOW, id)
  elseif count > 0 then
    owe(id, count, 0)
    local by_hand = f.offset or f.hand == '1'
    if by_hand then redis.call('HINCRBY', k, 'hand', int(count))                     -- no birth counts it: it adds these
    else redis.call('HINCRBY', k, 'counted', int(-count)) end                        -- counted when it was read
    if by_hand or f.by_hand == '1' then redis.call('HINCRBY', k, 'ho', int(count)) end
  end
end
if name then
  mark(name, tonumber(f.offset), {fate = 'replayed', letter = letter, sha = m and m.sha or digest(f.raw or ''), count = count,
    instance = means == 'counts' and id or ''})
end
changed()
tally('dead_letters:replayed')
audit('replayed', id, job, 'd', letter, 'n', count and int(count), 'u', ARGV[8], 'y', ARGV[9])
return {'OK', id, count and int(count) or '', redis.call('HEXISTS', k, 'pk') == 1 and '1' or '0'}
