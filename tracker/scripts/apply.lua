-- Apply one batch: each record once, in whatever order, cut or number of copies the batches come.
-- ARGV: ledger, topic, partition, epoch, start, end, kind, checksum, payload, how long a push task is expected (ms)
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
local sums, asides, jobs, order, applied, below = {}, {}, {}, {}, 0, 0
for n = 1, #which do
  local offset = start + (offsets and offsets[n] or n - 1)
  if fresh or not seen(offset) then
    local j = which[n]
    if not jobs[j] then jobs[j] = ''; order[#order + 1] = j end
    if kind == 'registrations' then
      if values[n] ~= '' then jobs[j] = values[n] end
    elseif offset < horizon then
      asides[j] = (asides[j] or 0) + values[n]
      below = below + 1
    else sums[j] = (sums[j] or 0) + values[n] end
    applied = applied + 1
  end
end

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
        local letter_id = bury('what', 'counts', 'instance', id, 'count', int(asides[j]), 'perhaps', int(asides[j]), 'job', '', 'reason', why)
        audit('buried', id, '', 'd', letter_id, 'n', int(asides[j]), 'y', why)
      end
    end
    if sums[j] and sums[j] > 0 and owe(id, sums[j], kick_ms) then out[#out + 1] = id end
  end
end
for _, letter in ipairs(dead) do
  local offset = start + letter[1]
  if fresh or not seen(offset) then
    local letter_id = bury('what', 'undecodable', 'topic', ARGV[2], 'partition', ARGV[3], 'epoch', ARGV[4], 'offset', int(offset), 'reason', letter[2], 'raw',
      letter[3])
    audit('buried', '', '', 'd', letter_id, 'p', ARGV[2] .. ':' .. ARGV[3], 'a', int(offset), 'y', letter[2])
    applied = applied + 1
  end
end
out[2] = int(extend(part, p, start, stop, ARGV[8]))
out[3] = int(applied)
if applied > 0 then tally(kind == 'counts' and 'records' or 'registrations', applied) end
if below > 0 then tally('records_below_horizon', below) end
changed()
return out
