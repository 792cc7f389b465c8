-- KEYS meta journal chain parts quarantine evidence; ARGV[3] is 'memory' or 'nothing'.
local exists = redis.call('EXISTS', KEYS[1]) == 1
if exists then
  local refused = fence_check()
  if refused then return refused end
  if redis.call('HEXISTS', KEYS[1], 'hollow') == 0 or ARGV[3] == 'memory' then
    write_again()
    return {'OK'}
  end
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
drop_unsealed(KEYS[6])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2])
if ARGV[3] == 'memory' then
  redis.call('HSET', KEYS[1], 'hollow', 1)
else
  redis.call('HDEL', KEYS[1], 'hollow')
end
return {'OK'}
