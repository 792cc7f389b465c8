-- KEYS meta quarantine; ARGV epoch nonce, then "session seq" and the tick.
local refused = fence_check()
if refused then return refused end
if redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4]) == 0 then write_again() end
return {'OK'}
