-- KEYS meta chain parts; ARGV epoch nonce, then the position's epoch, tick, hash in hexadecimal, the part's index, its bytes.
local refused = fence_check()
if refused then return refused end
for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  local known = checkpoint(line)
  -- A repeat that comes late, or a second capture of the same tick: the checkpoint there is complete and stays as it is.
  if known.epoch == tonumber(ARGV[3]) and known.tick == tonumber(ARGV[4]) and known.hash == ARGV[5] then return {'OK'} end
end
redis.call('HSET', KEYS[3], table.concat({ARGV[3], ARGV[4], ARGV[5], ARGV[6]}, ' '), ARGV[7])
return {'OK'}
