-- KEYS meta quarantine; ARGV epoch nonce, then "session seq" and the tick.
local refused = fence_check()
if refused then return refused end
redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4])
return {'OK'}
