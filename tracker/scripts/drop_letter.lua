-- A person gives a dead letter up: it is not counted, also when a birth reads its record again. ARGV: letter, who, why. Reply: OK; or GONE
local no = refusal()
if no then return no end
local letter = ARGV[1]
local f, refused = read_letter(letter)
if not f then return refused end
redis.call('XDEL', P .. 'dead', letter)
local name, m = mark_of(f)
if name and (not m or m.letter == letter and m.fate ~= 'read') then
  mark(name, tonumber(f.offset), {fate = 'dropped', letter = letter, sha = m and m.sha or digest(f.raw or ''), count = tonumber(f.count),
    instance = f.instance})
end
changed()
tally('dead_letters:dropped')
audit('dropped', f.instance or '', f.job or '', 'd', letter, 'n', f.count, 'u', ARGV[2], 'y', ARGV[3])
return {'OK', letter}
