-- KEYS meta journal chain parts quarantine evidence. The very first grant finds nothing and makes the data set; a later one that finds
-- nothing finds that it is lost. A fence that rises deletes evidence that was never sealed.
if redis.call('EXISTS', KEYS[1]) == 0 then
  if tonumber(ARGV[1]) ~= 1 then return {'LOST'} end
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  drop_unsealed(KEYS[6])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2])
  return {'OK'}
end
-- The owner that writes a data set from memory is not shut out by one that has nothing.
if redis.call('HEXISTS', KEYS[1], 'hollow') == 1 then return fence_refusal() or {'LOST'} end
local refused = fence_refusal()
if refused then return refused end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then drop_unsealed(KEYS[6]) end
raise_fence()
write_again()
return {'OK'}
