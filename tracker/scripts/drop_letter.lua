-- A person gives a dead letter up: it is not counted, also when a birth reads its record again. ARGV: letter, who, why. Reply: OK; or GONE
local no = refusal()
if no then return no end
local letter = ARGV[1]
if not string.match(letter, '^%d+%-%d+$') then return {'ERROR', 'a dead letter is named by an id like 1795537990400-0'} end
local entry = redis.call('XRANGE', P .. 'dead', letter, letter)[1]
if not entry then return {'GONE', letter} end
local f = {}
for n = 1, #entry[2], 2 do f[entry[2][n]] = entry[2][n + 1] end
redis.call('XDEL', P .. 'dead', letter)
if f.offset then
  local name = f.topic .. ':' .. f.partition .. ':' .. (f.epoch or '')
  local marks = read_marks(name, tonumber(f.offset), tonumber(f.offset) + 1)
  local m = marks and marks[tonumber(f.offset)]
  if not m or m.letter == letter and m.fate ~= 'read' then
    mark(name, tonumber(f.offset), {fate = 'dropped', letter = letter, sha = m and m.sha or digest(f.raw or ''), count = tonumber(f.count),
      instance = f.instance})
  end
end
changed()
tally('dead_letters:dropped')
audit('dropped', f.instance or '', f.job or '', 'd', letter, 'n', f.count, 'u', ARGV[2], 'y', ARGV[3])
return {'OK', letter}
