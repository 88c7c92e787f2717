-- Apply one batch: each record once, in whatever order, cut or number of copies the batches come.
-- ARGV: ledger, topic, partition, epoch, start, end, kind, checksum, payload, how long a push task is expected (ms),
--   the most dead letters
-- Reply: OK, next, records applied now, instances to push …
local no = refusal()
if no then return no end
if ID ~= ARGV[1] then tally('batches_refused'); return {'OTHER', ID} end
local start, stop, kind, kick_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[10])
if not start or not stop or start < 0 or stop <= start then return {'ERROR', 'expected 0 <= start < end'} end
if kind ~= 'counts' and kind ~= 'registrations' then return {'ERROR', 'kind must be counts or registrations'} end
local part = P .. 'part:' .. ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
local p = read_part(part)
if not p then tally('batches_refused'); return {'EPOCH', 'this ledger does not know epoch ' .. ARGV[4] .. ' of ' .. ARGV[2] .. ':' .. ARGV[3]} end
if stop <= p.next then return {'OK', int(p.next), '0'} end

local good, d = pcall(cjson.decode, ARGV[9])
if not good or type(d) ~= 'table' then return {'ERROR', 'the payload is not JSON'} end
local ids, which, values, offsets, dead = d.i, d.x, kind == 'counts' and d.n or d.j, d.o, d.d or {}
if type(ids) ~= 'table' or type(which) ~= 'table' or type(values) ~= 'table' or #which ~= #values or type(dead) ~= 'table' then
  return {'ERROR', 'the payload lacks a column'}
end
if offsets and (type(offsets) ~= 'table' or #offsets ~= #which) then return {'ERROR', 'the payload has too few offsets'} end
for _, id in ipairs(ids) do
  if type(id) ~= 'string' or id == '' then return {'ERROR', 'instance ids must be non-empty strings'} end
end
local length, before = stop - start, -1
local wholenumber = math.floor
for n = 1, #which do
  local offset = offsets and offsets[n] or n - 1
  if type(offset) ~= 'number' or offset <= before or offset >= length or wholenumber(offset) ~= offset then
    return {'ERROR', 'offsets must rise inside the range'}
  end
  before = offset
  if ids[which[n] + 1] == nil then return {'ERROR', 'record ' .. n .. ' names no instance'} end
  local value = values[n]
  if kind == 'counts' then
    if type(value) ~= 'number' or value < 0 or value > 2147483647 or wholenumber(value) ~= value then return {'ERROR', 'counts must be 0 … 2147483647'} end
  elseif type(value) ~= 'string' then return {'ERROR', 'job ids must be strings'} end
end
for _, letter in ipairs(dead) do
  if type(letter) ~= 'table' or type(letter[1]) ~= 'number' or letter[1] < 0 or letter[1] >= length or type(letter[2]) ~= 'string' or type(letter[3]) ~= 'string' then
    return {'ERROR', 'a dead letter needs offset, reason and raw bytes'}
  end
end

local function seen(offset)
  if offset < p.next then return true end
  for _, r in ipairs(p.ranges) do
    if offset >= r[1] and offset < r[2] then return true end
  end
  return false
end
local fresh = start >= p.next and #p.ranges == 0      -- the everyday case: nothing of this range can have been seen
local horizon = p.horizon or 0
local name = ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
local marks = read_marks(name, start, stop)           -- nil but for a birth's reading
local sums, asides, jobs, order, applied, below = {}, {}, {}, {}, 0, 0
local letters, remarked, restored = {}, {}, {}
for n = 1, #which do
  local offset = start + (offsets and offsets[n] or n - 1)
  if fresh or not seen(offset) then
    local j = which[n]
    local m = marks and marks[offset]
    local decided = m and (m.fate ~= 'standing' or m.instance ~= '') and m.fate ~= 'read' and kind == 'counts'
    if decided then
      -- A person has decided about this record, or has yet to. Without a topic id it may be another record at the same offset.
      if ARGV[4] == '' or m.instance ~= ids[j + 1] or m.count ~= values[n] then
        local before = m.fate .. (m.instance ~= '' and ' as ' .. int(m.count) .. ' of ' .. m.instance or '')
        local perhaps = (m.fate == 'dropped' and ARGV[4] ~= '') and 0 or values[n]
        local why = 'the letter of this record was ' .. before .. ', and it is read otherwise now'
        letters[#letters + 1] = {offset, 'counts', 'instance', ids[j + 1], 'count', int(values[n]), 'perhaps', int(perhaps), 'job', '', 'reason', why,
          sha = m.sha, count = values[n], instance = ids[j + 1], why = why}
      end
    else
      if m then remarked[#remarked + 1] = offset end
      if not jobs[j] then jobs[j] = ''; order[#order + 1] = j end
      if kind == 'registrations' then
        if values[n] ~= '' then jobs[j] = values[n] end
      elseif offset < horizon then
        asides[j] = (asides[j] or 0) + values[n]
        below = below + 1
      else sums[j] = (sums[j] or 0) + values[n] end
    end
    applied = applied + 1
  end
end
for _, letter in ipairs(dead) do
  local offset = start + letter[1]
  if fresh or not seen(offset) then
    local sha, m = digest(letter[3]), marks and marks[offset]
    if not m or m.sha ~= sha then letters[#letters + 1] = {offset, 'undecodable', 'reason', letter[2], 'raw', letter[3], sha = sha, why = letter[2]}
    elseif m.fate == 'read' then
      -- An earlier ledger could decode it and this reading cannot: an older release is back.
      if redis.call('XLEN', P .. 'dead') > 0 and #redis.call('XRANGE', P .. 'dead', m.letter, m.letter) > 0 then
        m.fate = 'standing'
        restored[#restored + 1] = offset
      else
        letters[#letters + 1] = {offset, 'undecodable', 'reason', letter[2], 'raw', letter[3], 'doubt', 'an earlier reading could decode it', sha = sha,
          why = letter[2]}
      end
    end
    applied = applied + 1
  end
end
local late = false                                     -- below the horizon, of an instance that is settled
for j, sum in pairs(asides) do
  local v = redis.call('HMGET', P .. 'i:' .. ids[j + 1], 'g', 'aside')
  if sum > 0 and v[1] == NUMBER and not v[2] then late = true end
end
if (#letters > 0 or late) and letters_full(ARGV[11]) then return refuse_letters(ARGV[11]) end

local out = {'OK', '', ''}
for _, j in ipairs(order) do
  local id = ids[j + 1]
  if kind == 'registrations' then register(id, jobs[j], 'record')
  else
    if asides[j] then
      -- Below the horizon: only the API knows how much of it had been pushed. Settled before the first push.
      local k = touch(id)
      if redis.call('HEXISTS', k, 'aside') == 1 then
        redis.call('HINCRBY', k, 'aside', int(asides[j]))
        redis.call('ZADD', P .. 'leisure', 'NX', NOW, id)
      elseif asides[j] > 0 then
        -- A late batch of a topic that was made anew before its horizon was passed: settled without it, nobody can tell now.
        local why = 'perhaps counted before the birth: read late from ' .. ARGV[2] .. ':' .. ARGV[3] .. ', which was made anew'
        local letter_id = bury('what', 'counts', 'instance', id, 'count', int(asides[j]), 'perhaps', int(asides[j]), 'hand', '1', 'job', '',
          'reason', why)
        audit('buried', id, '', 'd', letter_id, 'n', int(asides[j]), 'y', why)
      end
    end
    if sums[j] and sums[j] > 0 and owe(id, sums[j], kick_ms) then out[#out + 1] = id end
  end
end
for _, offset in ipairs(remarked) do
  -- What no reading could decode before, this one has: its letter must not count it again.
  marks[offset].fate = 'read'
  mark(name, offset, marks[offset])
end
for _, offset in ipairs(restored) do mark(name, offset, marks[offset]) end
for _, letter in ipairs(letters) do
  local id = bury('topic', ARGV[2], 'partition', ARGV[3], 'epoch', ARGV[4], 'offset', int(letter[1]), 'what', unpack(letter, 2))
  audit('buried', letter.instance or '', '', 'd', id, 'n', letter.count and int(letter.count), 'p', ARGV[2] .. ':' .. ARGV[3], 'a', int(letter[1]), 'y',
    letter.why)
  mark(name, letter[1], {fate = 'standing', letter = id, sha = letter.sha, count = letter.count, instance = letter.instance})
end
out[2] = int(extend(part, p, start, stop, ARGV[8]))
out[3] = int(applied)
if applied > 0 then tally(kind == 'counts' and 'records' or 'registrations', applied) end
if below > 0 then tally('records_below_horizon', below) end
changed()
return out
