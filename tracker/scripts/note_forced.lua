-- Write down that a person has an instance's state set by force. ARGV: instance, job ("" for unknown), state, who, why
local no = refusal()
if no then return no end
if ARGV[1] == '' then return {'ERROR', 'the instance id is empty'} end
audit('forced', ARGV[1], ARGV[2], 's', ARGV[3], 'u', ARGV[4], 'y', ARGV[5])
return {'OK'}
