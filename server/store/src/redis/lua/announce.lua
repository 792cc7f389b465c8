-- KEYS shards; ARGV nonce, address. A value is "beat address".
local now = redis.call('HGET', KEYS[1], ARGV[1])
local beat = now and tonumber(string.match(now, '^%d+')) or 0
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', beat + 1, ARGV[2]))
return {'OK'}
