-- KEYS meta evidence; ARGV epoch nonce, then the mark: "epoch tick " as it begins, all of it, its epoch, parts, bytes.
local refused = fence_refusal()
if refused then return refused end
local kept = redis.call('HMGET', KEYS[2], 'mark', 'counted')
if kept[1] then
  if string.sub(kept[1], 1, #ARGV[3]) == ARGV[3] then return {'OK'} end
  if tonumber(kept[2]) < tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[2], 'counted', ARGV[5])
    redis.call('HINCRBY', KEYS[2], 'later', 1)
  end
  return {'COUNTED'}
end
local parts, bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local found, length = 0, 0
for index = 0, parts - 1 do
  found = found + redis.call('HEXISTS', KEYS[2], index)
  length = length + redis.call('HSTRLEN', KEYS[2], index)
end
if found ~= parts or length ~= bytes then
  return {'CORRUPT', string.format('%d of %d parts, %d of %d bytes of the evidence were written', found, parts, length, bytes)}
end
redis.call('HSET', KEYS[2], 'mark', ARGV[4], 'counted', ARGV[5], 'later', 0)
local extra = parts
while redis.call('HDEL', KEYS[2], extra) == 1 do extra = extra + 1 end
raise_fence()
return {'OK'}
