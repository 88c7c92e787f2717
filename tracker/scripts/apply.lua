-- Apply one batch: each record once, in whatever order, cut or number of copies the batches come.
-- ARGV: ledger, topic, partition, epoch, start, end, kind, checksum, payload, how long a push task is expected (ms),
--   the most dead letters, how many records the payload has
-- Reply: OK, next, records applied now, {instances to push that somebody waits for}, {other instances to push}
local no = refusal()
if no then return no end
if ID ~= ARGV[1] then tally('batches_refused'); return {'OTHER', ID} end
local start, stop, kind, kick_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[10])
if not start or not stop or start < 0 or stop <= start then return {'ERROR', 'expected 0 <= start < end'} end
if kind ~= 'counts' and kind ~= 'registrations' then return {'ERROR', 'kind must be counts or registrations'} end
local part = P .. 'part:' .. ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
local p = read_part(part)
if not p then tally('batches_refused'); return {'EPOCH', 'this ledger does not know epoch ' .. ARGV[4] .. ' of ' .. ARGV[2] .. ':' .. ARGV[3]} end
if stop <= p.next then return {'OK', int(p.next), '0', {}, {}} end

local good, d = pcall(cjson.decode, ARGV[9])
if not good or type(d) ~= 'table' then return {'ERROR', 'the payload is not JSON'} end
-- Each different value once: its instance (an index into ids), what it says, and how often it came; then of each record which value it has.
local ids, which, values, times, x, offsets, dead = d.i, d.w, kind == 'counts' and d.n or d.j, d.t, d.x, d.o, d.d or {}
if type(ids) ~= 'table' or type(which) ~= 'table' or type(values) ~= 'table' or type(times) ~= 'table' or type(x) ~= 'string' or type(dead) ~= 'table'
  or #which ~= #values or #which ~= #times then
  return {'ERROR', 'the payload lacks a column'}
end
if #x % 4 ~= 0 or string.find(x, '[^0-9a-f]') then return {'ERROR', 'x must be 4 hex digits per record'} end
local records, length = #x / 4, stop - start
for _, id in ipairs(ids) do
  if type(id) ~= 'string' or id == '' then return {'ERROR', 'instance ids must be non-empty strings'} end
end
local function whole(value, least, most) return type(value) == 'number' and value >= least and value <= most and math.floor(value) == value end
local sum = 0
for n = 1, #which do
  if not whole(which[n], 0, #ids - 1) then return {'ERROR', 'value ' .. n .. ' names no instance'} end
  if not whole(times[n], 1, records) then return {'ERROR', 'a value came at least once, and not more often than there are records'} end
  sum = sum + times[n]
  if kind == 'counts' then
    if not whole(values[n], 0, 2147483647) then return {'ERROR', 'counts must be 0 … 2147483647'} end
  elseif type(values[n]) ~= 'string' then return {'ERROR', 'job ids must be strings'} end
end
if sum ~= records then return {'ERROR', 'the values came ' .. sum .. ' times, in ' .. records .. ' records'} end
if offsets then
  if type(offsets) ~= 'table' or #offsets ~= records then return {'ERROR', 'the payload has too few offsets'} end
  local before = -1
  for n = 1, records do
    if not whole(offsets[n], before + 1, length - 1) then return {'ERROR', 'offsets must rise inside the range'} end
    before = offsets[n]
  end
elseif records > length then return {'ERROR', 'more records than the range has offsets'} end
for _, letter in ipairs(dead) do
  if type(letter) ~= 'table' or not whole(letter[1], 0, length - 1) or type(letter[2]) ~= 'string' or type(letter[3]) ~= 'string' then
    return {'ERROR', 'a dead letter needs offset, reason and raw bytes'}
  end
end
if records + #dead ~= tonumber(ARGV[12]) then return {'ERROR', 'the payload has ' .. records + #dead .. ' records, expected ' .. ARGV[12]} end

local fresh = start >= p.next      -- nothing of this range has been seen
for _, r in ipairs(p.ranges) do
  if r[1] < stop and r[2] > start then fresh = false end
end
local function seen(offset)
  if offset < p.next then return true end
  for _, r in ipairs(p.ranges) do
    if offset >= r[1] and offset < r[2] then return true end
  end
  return false
end
local horizon = p.horizon or 0
local name = ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
local marks = read_marks(name, start, stop)           -- nil but for a birth's reading
local sums, asides, jobs, order, applied, below = {}, {}, {}, {}, 0, 0
local letters, remarked, restored = {}, {}, {}
local function take(n, often, under)
  local j = which[n]
  if not jobs[j] then jobs[j] = ''; order[#order + 1] = j end
  if kind == 'registrations' then
    if values[n] ~= '' then jobs[j] = values[n] end
  elseif under then
    asides[j] = (asides[j] or 0) + values[n] * often
    below = below + often
  else sums[j] = (sums[j] or 0) + values[n] * often end
end
if fresh and not marks and kind == 'counts' and (stop <= horizon or start >= horizon) then
  for n = 1, #which do take(n, times[n], stop <= horizon) end
  applied = records
else
  for n = 1, records do
    local value = tonumber(string.sub(x, 4 * n - 3, 4 * n), 16) + 1
    if value > #which then return {'ERROR', 'record ' .. n .. ' has no value'} end
    local offset = start + (offsets and offsets[n] or n - 1)
    if fresh or not seen(offset) then
      local id, count, m = ids[which[value] + 1], values[value], marks and marks[offset]
      local decided = m and (m.fate ~= 'standing' or m.instance ~= '') and m.fate ~= 'read' and kind == 'counts'
      if decided then
        -- A person has decided about this record, or has yet to. Without a topic id it may be another record at the same offset.
        if ARGV[4] == '' or m.instance ~= id or m.count ~= count then
          local before = m.fate .. (m.instance ~= '' and ' as ' .. int(m.count) .. ' of ' .. m.instance or '')
          local perhaps = (m.fate == 'dropped' and ARGV[4] ~= '') and 0 or count
          local why = 'the letter of this record was ' .. before .. ', and it is read otherwise now'
          letters[#letters + 1] = {offset, 'counts', 'instance', id, 'count', int(count), 'perhaps', int(perhaps), 'job', '', 'reason', why,
            sha = m.sha, count = count, instance = id, why = why}
        end
      else
        if m then remarked[#remarked + 1] = offset end
        take(value, 1, offset < horizon)
      end
      applied = applied + 1
    end
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

local out = {'OK', '', '', {}, {}}
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
    if sums[j] and sums[j] > 0 then
      local wake, urgent = owe(id, sums[j], kick_ms)
      local list = urgent and out[4] or out[5]
      if wake then list[#list + 1] = id end
    end
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
if applied > 0 then redis.call('HSET', P .. 'ledger', 'flow', int(NOW)) end
if applied > 0 then tally(kind == 'counts' and 'records' or 'registrations', applied) end
if below > 0 then tally('records_below_horizon', below) end
changed()
return out
