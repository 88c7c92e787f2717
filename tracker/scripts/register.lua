-- Follow an instance. ARGV: instance, job ("" for unknown), who ("" for not told)
local no = refusal()
if no then return no end
if ARGV[1] == '' then return {'ERROR', 'the instance id is empty'} end
register(ARGV[1], ARGV[2], 'hand', ARGV[3])
changed()
return {'OK'}
