-- ARGV: epoch, nonce, address, players, ttl, mark or nothing. A max register: what is lower gives way.
local now = lease()
local theirs, mine = tonumber(now[1] or -1), tonumber(ARGV[1])
if theirs > mine or (theirs == mine and (now[2] ~= ARGV[2] or now[4] ~= '0')) then return held(now) end
clear(now)
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2], 'released', 0, 'addr', ARGV[3], 'players', ARGV[4], 'ttl_ms',
  ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'mark', ARGV[6]) end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {'OK'}
