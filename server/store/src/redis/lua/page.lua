-- KEYS meta and a hash; ARGV epoch nonce of the reader, both empty if it has no grant; then the fields. A page of a zone's data, if the
-- fence is the reader's.
local fence = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'hollow')
if not fence[1] or fence[3] then return {'LOST'} end
if ARGV[1] ~= '' and (fence[1] ~= ARGV[1] or fence[2] ~= ARGV[2]) then
  if tonumber(fence[1]) < tonumber(ARGV[1]) then return {'BACK'} end
  return {'FENCED', fence[1]}
end
local values = {}
for index = 3, #ARGV do values[index - 2] = redis.call('HGET', KEYS[2], ARGV[index]) end
return {'OK', values}
