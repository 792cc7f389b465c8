-- KEYS bans; ARGV account. Its ban, and the marker.
local ban, marker = unpack(redis.call('HMGET', KEYS[1], ARGV[1], 'marker'))
return {ban or '', marker or ''}
