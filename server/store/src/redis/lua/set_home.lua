-- KEYS home; ARGV expected (empty: none), next. Where it is to go is where it is: this write was done before, and its answer got lost.
local now = redis.call('GET', KEYS[1])
if now == ARGV[2] then return {'OK'} end
if (now or '') ~= ARGV[1] then return {'IS', now or ''} end
redis.call('SET', KEYS[1], ARGV[2])
return {'OK'}
