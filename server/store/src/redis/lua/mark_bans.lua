-- KEYS bans; ARGV expected (empty: none), marker.
local now = redis.call('HGET', KEYS[1], 'marker') or ''
if now ~= ARGV[1] and now ~= ARGV[2] then return {'IS', now} end
redis.call('HSET', KEYS[1], 'marker', ARGV[2])
return {'OK'}
