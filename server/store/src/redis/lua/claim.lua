-- ARGV: epoch, nonce, beat, released as watched; then the new epoch, the claimer's nonce, address, and ttl.
local now = lease()
if not now[1] then return held(now) end
-- This very claim was granted before, and its answer got lost.
if now[1] == ARGV[5] and now[2] == ARGV[6] and now[4] == '0' then return {'OK'} end
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] or now[3] ~= ARGV[3] or now[4] ~= ARGV[4] then return held(now) end
-- The player count stays: should the new holder die before its first renewal, the next spare still knows who waits.
redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'nonce', ARGV[6], 'released', 0, 'addr', ARGV[7], 'ttl_ms', ARGV[8])
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {'OK'}
