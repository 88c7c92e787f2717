-- Shared by every script: put in front of each by tracker/ledger_scripts.py. What Redis holds, all under one prefix:
--
--   ledger                  hash    id ("number-random"), number, version (raised by every change), format, run (the server run
--                                   it is verified for), born and settle (ms), unpassed (partitions below their horizon), reason,
--                                   paused_pushes, paused_bridge (present: JSON with at (ms), by, reason),
--                                   void (present: why a person wants it born anew; run then matches no server), owed (the sum over
--                                   all instances), flow (records were last applied: ms)
--   partitions              hash    "topic:partition" -> epoch in force
--   part:<t>:<p>:<epoch>    hash    next, checksum (of the record at next - 1), horizon (absent: none or passed), old (another
--                                   epoch has taken its place), ranges
--                                   ("from-to-checksum,…": applied above next, because they arrived early)
--   i:<instance>            hash    one instance; its fields are listed below
--   owing                   zset    instances with counts, an intent or an aside to settle -> due (ms)
--   owed                    zset    instances that owe counts -> since (ms)
--   intents                 zset    instances with an open intent -> opened (ms)
--   watched                 zset    instances whose completion must be looked at -> due (ms)
--   leisure                 zset    instances set aside at a birth, listed or not: settled a few at a time -> since (ms)
--   followed                zset    instances not ended -> followed since (ms)
--   finished                zset    instances ended -> ended (ms)
--   progress                zset    instances followed -> last progress as far as it was looked at (ms)
--   stuck                   zset    instances that have stood still for STUCK_AFTER -> when that was seen (ms)
--   parked                  zset    instances set aside for a person -> since (ms)
--   jobs                    zset    jobs pending -> due (ms);   parked_jobs  zset  jobs unknown to the Import API -> since (ms)
--   failing_jobs            zset    jobs pending whose last look came to nothing -> since the first such look in a row (ms)
--   j:<job>                 hash    token, until (lock), sent, open (copies without an answer), wanted (times asked for), tries, why, st,
--                                   ended (the last state of it that was written down in history)
--   dead                    stream  dead letters: what, at (ms), g (the ledger's number), reason, and topic, partition, epoch, offset, raw
--                                   (base64) where one record is meant, instance, job, count, perhaps, hand (1: no birth reads it again), by_hand (1: nothing but counts by hand is in it)
--   marks:<t>:<p>:<epoch>   zset    "offset fate letter sha1 count instance" -> offset: those that have or had a dead letter
--   marked                  set     "topic:partition:epoch" of all marks
--   losses                  stream  recorded losses;   births  stream  every birth and its reason
--   history                 stream  what has happened, one entry each; described below
--   history_state           hash    most (entries it is bounded to), and of the database it is drained into: draining (present: there
--                                   is one), drained (id of the last entry that is in it), ok and tried (ms), failures, why, and lost, lost_at (entries trimmed before they were drained, and when last: ms)
--   counters                hash    what metrics count from the beginning: tracker/metrics.py names them
--   k:<key>                 string  a manual count's idempotency key
--   sync                    hash    the full listing: ok, tried (ms), took (ms), attempts, pages, why, times (that it succeeded), jobs_at (how many times when the jobs were last listed)
--   lease:<name>            string  taken with SET NX PX by whoever does the periodic work: tick, sync, jobs, drain
--   heartbeat:<kind>:<name> string  JSON with expiry;   heartbeats  zset  "kind:name" -> expires (ms)
--
-- Fields of i:<instance>:
--   g number of the ledger it belongs to (another: it is reset on first touch)   owed   counted (here, for people)   hand (by hand, ever)
--   ho added by hand, of what is owed   hi of it in the open intent   hb, ha until it is settled: added by hand and owed before the birth, and
--   from which count at the API on the intent with hi has been applied
--   aside (present: not settled since the birth)   total   ins (inserted at the API, last known)   st (state)   job   et (ETag)   tasks (open ones)
--   dl bf im sent: the open intent: delta, inserted before, If-Match ("" without), sent (ms)      lk lu: lock token, until (ms)
--   nb not before (ms)   tr tries   why reason   k an outstanding task is expected until (ms)   rs rests until (ms)   unk unknown to the API, times in a row
--   pk parked: kind   pkd since (ms)   ps state PUT sent (ms)   mv last push, or news from the API (ms)   stk seen to be stuck (ms)   first, last: first seen, last record (ms)   end ended (ms)   unv unverified
--
-- Fields of an entry of history. Its id is the time.
--   w what: registered total first pushed completed failed ended job_completed job_failed job_parked birth verified loss epoch
--     parked unparked retried given_up by_hand buried replayed dropped void: tracker/history/entries.py has a sentence for each
--   i instance   j job   n count   b before (a count, total, ledger or epoch)   a after (inserted at the API, or a position)   s state
--   c counted   l last record (ms)   f from: listing, record, hand   k kind, or key   p topic:partition   e epoch   g ledger
--   u who   y why   d id of a dead letter
--
-- Times are of Redis' clock. A script checks everything before its first write: an error in the middle undoes nothing.

local P = KEYS[1]
local FORMAT = '1'
local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function int(value) return string.format('%.0f', value) end

local function run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) == 'table' and info.err then
    -- The in-memory fake of the tests has no INFO, and its error is no Lua string; a real server's is: without INFO it is refused.
    if type(info.err) ~= 'string' then return 'fake' end
    return nil, tostring(info.err)
  end
  return string.match(info, 'run_id:(%w+)')
end

local LEDGER = redis.call('HMGET', P .. 'ledger', 'id', 'number', 'version', 'format', 'run', 'born', 'settle', 'unpassed', 'owed', 'paused_pushes', 'paused_bridge')
local ID, NUMBER = LEDGER[1], LEDGER[2]

-- Nil when the ledger may be used, else the reply that refuses.
local function refusal()
  if not ID then return {'NO_LEDGER', 'no ledger yet: a bridge has to be connected to Kafka once'} end
  if LEDGER[4] ~= FORMAT then return {'FORMAT', 'the ledger has format ' .. LEDGER[4] .. ', this version knows ' .. FORMAT} end
  local run, err = run_id()
  if not run then return {'NO_RUN_ID', 'INFO server: ' .. (err or 'no run_id')} end
  if string.sub(LEDGER[5], 1, 5) == 'void:' then return {'UNVERIFIED', 'the ledger is ' .. LEDGER[5] .. '; no bridge has given birth to the next one yet'} end
  if LEDGER[5] ~= run then return {'UNVERIFIED', 'Redis has restarted and no bridge has verified the ledger yet'} end
  return nil
end

-- What is owed more or less by this script than before it.
local OWED = 0

-- To be said once, at the end of every script that has changed something.
local function changed()
  redis.call('HINCRBY', P .. 'ledger', 'version', 1)
  -- A ledger made before there was the sum has none until due.lua has made it.
  if OWED ~= 0 and LEDGER[9] then
    if redis.call('ZCARD', P .. 'owed') == 0 then redis.call('HSET', P .. 'ledger', 'owed', '0')
    else redis.call('HINCRBY', P .. 'ledger', 'owed', int(OWED)) end
  end
  OWED = 0
end

-- To be said wherever the field owed changes: the index and the sum change with it.
local function owes(id, before, after)
  if after <= 0 then redis.call('ZREM', P .. 'owed', id)
  elseif before <= 0 then redis.call('ZADD', P .. 'owed', 'NX', NOW, id) end
  OWED = OWED + math.max(0, after) - math.max(0, before)
end

local function set_owed(k, id, before, after)
  redis.call('HSET', k, 'owed', int(after))
  owes(id, before, after)
end

-- Raise a counter of metrics.
local function tally(name, by) redis.call('HINCRBY', P .. 'counters', name, by or 1) end

-- How long it took from an instance's last record until it was completed (ms), for a histogram of seconds: each falls into one bucket.
local function took(ms)
  ms = math.max(0, ms)
  local bucket = '+Inf'
  for _, bound in ipairs({0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}) do
    if ms <= bound * 1000 then bucket = tostring(bound); break end
  end
  tally('latency:' .. bucket)
  tally('latency_ms', int(ms))
end

local function older(a, b)
  local am, as = string.match(a, '(%d+)-(%d+)')
  local bm, bs = string.match(b, '(%d+)-(%d+)')
  am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
  return am < bm or (am == bm and as < bs)
end

-- Trim the history to its bound, some hundred entries at a time. What goes before a database has it is counted. Returns how many went.
local function bound_history()
  local state = redis.call('HMGET', P .. 'history_state', 'most', 'draining', 'drained')
  local length = redis.call('XLEN', P .. 'history')
  local above = math.min(500, length - (tonumber(state[1]) or 100000))
  if above < 100 then return 0 end
  local going = state[2] and redis.call('XRANGE', P .. 'history', '-', '+', 'COUNT', above) or {}
  local gone = redis.call('XTRIM', P .. 'history', 'MAXLEN', '~', length - above)
  local lost = 0
  for n = 1, math.min(gone, #going) do
    if not state[3] or older(state[3], going[n][1]) then lost = lost + 1 end
  end
  if lost > 0 then
    redis.call('HINCRBY', P .. 'history_state', 'lost', lost)
    redis.call('HSET', P .. 'history_state', 'lost_at', int(NOW))
  end
  return gone
end

-- Write down what has happened: an instance and a job ('' for none), then pairs of field and value; those that are '' or not there are left
-- out. On the hot path, where counts are applied, only an instance's first one may do so.
local function audit(what, instance, job, ...)
  local entry = {P .. 'history', '*', 'w', what}
  local function add(field, value)
    if value and value ~= '' then entry[#entry + 1] = field; entry[#entry + 1] = value end
  end
  add('i', instance)
  add('j', job)
  local more = {...}
  for n = 1, select('#', ...), 2 do add(more[n], more[n + 1]) end
  redis.call('XADD', unpack(entry))
  bound_history()
end

-- When pushing and completing may begin (ms), or nil while a horizon is not passed, or a person has paused it.
local function ready_at()
  if tonumber(LEDGER[8]) > 0 or LEDGER[10] then return nil end
  return tonumber(LEDGER[6]) + tonumber(LEDGER[7])
end

-- Bring an instance into this ledger: what an older ledger knew of owed counts, intents and locks is void.
local function touch(id)
  local k = P .. 'i:' .. id
  local g = redis.call('HMGET', k, 'g', 'hand', 'ho', 'hi', 'bf', 'dl')
  if g[1] ~= NUMBER then
    if g[1] then
      if g[3] then redis.call('HINCRBY', k, 'hb', g[3]) end
      if g[4] and g[6] then redis.call('HSET', k, 'ha', int(tonumber(g[5]) + tonumber(g[6]))) end
      redis.call('HDEL', k, 'owed', 'counted', 'et', 'ins', 'dl', 'bf', 'im', 'sent', 'lk', 'lu', 'nb', 'tr', 'why', 'k', 'rs', 'unk', 'pk', 'pkd', 'ps',
        'end', 'unv', 'ho')
      redis.call('PERSIST', k)
      redis.call('ZREM', P .. 'finished', id)
    end
    redis.call('HSET', k, 'g', NUMBER, 'aside', g[2] or '0')
    redis.call('HSETNX', k, 'first', int(NOW))
  end
  return k
end

-- Returns whether it is new.
local function follow(id)
  redis.call('ZREM', P .. 'finished', id)
  redis.call('ZADD', P .. 'progress', 'NX', NOW, id)
  return redis.call('ZADD', P .. 'followed', 'NX', NOW, id) == 1
end

-- Whether with what is owed the total is in, as far as is known.
local function is_all_in(total, inserted, owed)
  total, inserted = tonumber(total or nil) or 0, tonumber(inserted or nil)
  return total > 0 and inserted ~= nil and inserted + owed >= total
end

-- Add counts that are owed (above the horizon or by hand). Returns whether a push task should be sent, and
-- whether somebody waits for it: the total is in, or nothing of it was ever sent.
local function owe(id, count, kick_ms)
  local k = P .. 'i:' .. id
  local v = redis.call('HMGET', k, 'owed', 'counted', 'lu', 'nb', 'k', 'end', 'pk', 'job', 'total', 'ins', 'rs', 'g')
  if v[12] ~= NUMBER then
    touch(id)
    v = redis.call('HMGET', k, 'owed', 'counted', 'lu', 'nb', 'k', 'end', 'pk', 'job', 'total', 'ins', 'rs')
  end
  if v[6] then redis.call('PERSIST', k) end
  -- One that a person must look at gathers, and is not pushed.
  local parked = v[7] and v[7] ~= 'unknown'
  local owed = tonumber(v[1]) or 0
  -- Pushed a moment ago, and more is to come: what gathers goes together, when the rest is over. With its total in it rests no longer, and
  -- does not wait for a task that is expected either: that may wait behind many.
  local all_in = is_all_in(v[9], v[10], owed + count)
  local rest = not all_in and tonumber(v[11] or nil) or 0
  -- Whose rest has ended is for the check, which sends many in one task and not too many at a time; without a check this does it.
  local checked = rest <= NOW and rest + 60000 > NOW and v[10]
  if rest <= NOW or rest > NOW + 60000 then rest = NOW end
  if not parked then redis.call('ZADD', P .. 'owing', 'NX', rest, id) end
  local ready = ready_at()
  local busy = (tonumber(v[3]) or 0) > NOW or (tonumber(v[4]) or 0) > NOW or (not all_in and (tonumber(v[5]) or 0) > NOW)
  local wake = ready and ready <= NOW and not busy and not parked and rest <= NOW and not checked
  local sums = {'owed', int(owed + count), 'counted', int((tonumber(v[2]) or 0) + count), 'last', int(NOW)}
  owes(id, owed, owed + count)
  if wake then sums[7] = 'k'; sums[8] = int(NOW + kick_ms) end
  redis.call('HSET', k, unpack(sums))
  if not v[2] then
    if not v[6] then follow(id) end
    audit('first', id, v[8], 'n', int(count))
  end
  return wake, all_in or not v[10] or not v[11]
end

-- `from` is where we have it from: record, hand, listing.
local function register(id, job, from, who)
  local k = touch(id)
  if job ~= '' then redis.call('HSET', k, 'job', job) end
  if redis.call('HEXISTS', k, 'end') == 0 and follow(id) then audit('registered', id, job, 'f', from, 'u', who) end
end

-- Dead letters are kept until somebody decides about them. Returns the letter's id.
local function bury(...)
  tally('dead_letters')
  return redis.call('XADD', P .. 'dead', '*', 'at', int(NOW), 'g', NUMBER, ...)
end

local function letters_full(most) return redis.call('XLEN', P .. 'dead') >= tonumber(most) end

local function refuse_letters(most)
  return {'FULL', 'there are ' .. most .. ' dead letters, no more are taken: look at them with tracker dead-letters list, then replay or drop them'}
end

-- The in-memory fake of the tests has no sha1hex, and short records.
local function digest(raw) return redis.sha1hex and redis.sha1hex(raw) or 'fake' .. string.gsub(raw, '%s', '_') end

-- What is remembered of offsets that have or had a dead letter, so that a birth, which reads them again, makes no second one and counts
-- no record that a person has decided about. Fates: standing, replayed, dropped, read (a later reading could decode it and has counted it).
-- `name` is "topic:partition:epoch". Nil when there is nothing.
local function read_marks(name, from, to)
  local found = redis.call('ZRANGEBYSCORE', P .. 'marks:' .. name, int(from), '(' .. int(to))
  if #found == 0 then return nil end
  local marks = {}
  for _, text in ipairs(found) do
    local offset, fate, letter, sha, count, instance = string.match(text, '^(%d+) (%a+) (%S+) (%S+) (%S+) (.*)$')
    marks[tonumber(offset)] = {fate = fate, letter = letter, sha = sha, count = tonumber(count), instance = instance}
  end
  return marks
end

local function mark(name, offset, m)
  local key = P .. 'marks:' .. name
  redis.call('ZREMRANGEBYSCORE', key, int(offset), int(offset))
  local text = {int(offset), m.fate, m.letter, m.sha, m.count and int(m.count) or '-', m.instance or ''}
  redis.call('ZADD', key, int(offset), table.concat(text, ' '))
  redis.call('SADD', P .. 'marked', name)
  local partition, epoch = string.match(name, '^(.*:%d+):([^:]*)$')
  -- Of an epoch no longer in force only late batches can come, for a day.
  if redis.call('HGET', P .. 'partitions', partition) ~= epoch then redis.call('EXPIRE', key, 86400) end
end

-- A dead letter's fields; or nil, and what to reply.
local function read_letter(id)
  if not string.match(id, '^%d+%-%d+$') then return nil, {'ERROR', 'a dead letter is named by an id like 1795537990400-0'} end
  local entry = redis.call('XRANGE', P .. 'dead', id, id)[1]
  if not entry then return nil, {'GONE', id} end
  local f = {}
  for n = 1, #entry[2], 2 do f[entry[2][n]] = entry[2][n + 1] end
  return f
end

-- For a letter that is of one record: the name that its offset is marked under, and the mark, if there is one. Else nil.
local function mark_of(f)
  if not f.offset then return nil end
  local name, offset = f.topic .. ':' .. f.partition .. ':' .. (f.epoch or ''), tonumber(f.offset)
  return name, (read_marks(name, offset, offset + 1) or {})[offset]
end

-- The state of a partition's part hash: next and the ranges applied above it.
local function read_part(part)
  local v = redis.call('HMGET', part, 'next', 'ranges', 'horizon', 'old')
  if not v[1] then return nil end
  local ranges = {}
  for from, to, sum in string.gmatch(v[2] or '', '(%d+)-(%d+)-(%x*)') do ranges[#ranges + 1] = {tonumber(from), tonumber(to), sum} end
  return {next = tonumber(v[1]), ranges = ranges, horizon = tonumber(v[3]), old = v[4]}
end

-- Note [from, to) as applied: next moves on over everything that is now without a hole. Returns the new next.
local function extend(part, p, from, to, checksum)
  local keep = {}
  for _, r in ipairs(p.ranges) do
    if r[2] < from or r[1] > to then keep[#keep + 1] = r
    else
      if r[1] < from then from = r[1] end
      if r[2] > to then to = r[2]; checksum = r[3] end
    end
  end
  local nxt = p.next
  if from <= nxt then
    if to > nxt then nxt = to; redis.call('HSET', part, 'checksum', checksum) end
  else keep[#keep + 1] = {from, to, checksum} end
  local text = {}
  for _, r in ipairs(keep) do text[#text + 1] = int(r[1]) .. '-' .. int(r[2]) .. '-' .. r[3] end
  redis.call('HSET', part, 'next', int(nxt), 'ranges', table.concat(text, ','))
  if p.horizon and not p.old and nxt >= p.horizon then
    redis.call('HDEL', part, 'horizon')
    redis.call('HINCRBY', P .. 'ledger', 'unpassed', -1)
    LEDGER[8] = tonumber(LEDGER[8]) - 1
  end
  return nxt
end

-- The key of a held instance, or nil when the lock is another's, has expired, or belongs to an older ledger.
local function held(id, token, lease_ms)
  local k = P .. 'i:' .. id
  local v = redis.call('HMGET', k, 'g', 'lk', 'lu')
  if v[1] ~= NUMBER or v[2] ~= token or (tonumber(v[3]) or 0) <= NOW then return nil end
  redis.call('HSET', k, 'lu', int(NOW + lease_ms))
  return k
end

-- A job ("" for none) whose state must be looked at, now or again.
local function expect(job)
  if job == '' then return end
  redis.call('HINCRBY', P .. 'j:' .. job, 'wanted', 1)
  redis.call('PERSIST', P .. 'j:' .. job)
  redis.call('ZADD', P .. 'jobs', NOW, job)
end

-- The last look at a job came to nothing; it counts from the first in a row. A clock that ran ahead does not count.
local function fails(job)
  if (tonumber(redis.call('ZSCORE', P .. 'failing_jobs', job) or nil) or NOW + 1) > NOW then redis.call('ZADD', P .. 'failing_jobs', NOW, job) end
end

local LOST = {'LOST', 'the lock has passed to another worker'}

-- What a worker needs to know of the instance it holds; tracker/ledger.py reads these in this order.
local function snapshot(k)
  local v = redis.call('HMGET', k, 'owed', 'aside', 'total', 'ins', 'st', 'job', 'et', 'dl', 'bf', 'im', 'sent', 'tr', 'pk', 'counted', 'end')
  for n = 1, 15 do v[n] = v[n] or '' end
  table.insert(v, 1, 'OK')
  v[17] = int(NOW)
  return v
end

-- Write down that all that is owed is about to be sent: the count, the inserted count before, If-Match ("" without).
local function open_intent(id, k, owed, before, etag)
  redis.call('ZADD', P .. 'intents', NOW, id)
  redis.call('HSET', k, 'dl', int(tonumber(owed)), 'bf', before, 'im', etag, 'sent', int(NOW))
  local by_hand = redis.call('HGET', k, 'ho')
  if by_hand then redis.call('HSET', k, 'hi', by_hand) end
  changed()
end
