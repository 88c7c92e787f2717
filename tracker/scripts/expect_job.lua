-- A job whose state must be looked at, now or again. ARGV: job
local no = refusal()
if no then return no end
if ARGV[1] == '' then return {'ERROR', 'the job id is empty'} end
expect(ARGV[1])
changed()
return {'OK'}
