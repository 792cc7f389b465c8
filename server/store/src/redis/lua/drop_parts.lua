-- KEYS meta chain parts; ARGV epoch nonce, then the position as the chain's lines begin ("epoch tick hash "), and the number of its parts.
local refused = fence_check()
if refused then return refused end
for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if string.sub(line, 1, #ARGV[3]) == ARGV[3] then return {'OK'} end
end
for index = 0, tonumber(ARGV[4]) - 1 do redis.call('HDEL', KEYS[3], ARGV[3] .. index) end
return {'OK'}
