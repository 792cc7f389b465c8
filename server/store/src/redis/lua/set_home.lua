-- KEYS home; ARGV expected (empty: none), next. Where it is to go is where it is: this write was done before, and its answer got lost. It is
-- done again: replicas confirm what a connection wrote, and the first one may have come over another.
local record = redis.call('GET', KEYS[1])
local now = record and string.match(record, '^%d+ %S+') or record
if now == ARGV[2] then
  redis.call('SET', KEYS[1], record, 'KEEPTTL')
  return {'OK'}
end
if (now or '') ~= ARGV[1] then return {'IS', now or ''} end
redis.call('SET', KEYS[1], ARGV[2])
return {'OK'}
