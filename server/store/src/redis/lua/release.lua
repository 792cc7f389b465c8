-- ARGV: epoch, nonce, channel, zone. Releasing once more is harmless as long as nobody has claimed since: the first answer may have got lost.
local now = lease()
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] then return held(now) end
if now[4] == '0' then
  redis.call('HSET', KEYS[1], 'released', 1)
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return {'OK'}
