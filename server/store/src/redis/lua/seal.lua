-- KEYS meta chain; ARGV epoch nonce, then the sealed position as the chain's lines begin, its tick, and the seal. It is refused unless the
-- position is that of a base, which is the head, and no record follows it.
local refused = fence_refusal()
if refused then return refused end
local line = redis.call('LINDEX', KEYS[2], -1)
local is_head = line and string.sub(line, 1, #ARGV[3]) == ARGV[3] and checkpoint(line).is_base
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or 0)
if not is_head or last > tonumber(ARGV[4]) then return {'PARENT'} end
raise_fence()
redis.call('HSET', KEYS[1], 'seal', ARGV[5])
return {'OK'}
