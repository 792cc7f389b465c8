-- ARGV: epoch, nonce, players, mark or nothing.
local now = lease()
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] or now[4] ~= '0' then return held(now) end
if ARGV[4] == '' then redis.call('HSET', KEYS[1], 'players', ARGV[3])
else redis.call('HSET', KEYS[1], 'players', ARGV[3], 'mark', ARGV[4]) end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {'OK'}
