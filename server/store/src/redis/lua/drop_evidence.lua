-- KEYS meta evidence; ARGV epoch nonce. Deletes the parts of what is not sealed.
local refused = fence_refusal()
if refused then return refused end
drop_unsealed(KEYS[2])
raise_fence()
return {'OK'}
