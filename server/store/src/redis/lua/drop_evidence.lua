-- KEYS meta evidence; ARGV epoch nonce. Deletes the parts of what is not sealed.
local refused = fence_refusal()
if refused then return refused end
if redis.call('HEXISTS', KEYS[2], 'mark') == 0 then redis.call('DEL', KEYS[2]) end
raise_fence()
return {'OK'}
