-- Follow an instance. ARGV: instance, job ("" for unknown)
local no = refusal()
if no then return no end
if ARGV[1] == '' then return {'ERROR', 'the instance id is empty'} end
register(ARGV[1], ARGV[2])
changed()
return {'OK'}
