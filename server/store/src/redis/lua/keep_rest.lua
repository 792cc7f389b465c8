-- KEYS home; ARGV generation, zone, sealed payload, ms. A record of a higher generation stands, and is returned.
local now = redis.call('GET', KEYS[1])
local generation = now and tonumber(string.match(now, '^(%d+) '))
if generation and generation > tonumber(ARGV[1]) then return {'IS', string.match(now, '^%d+ %S+')} end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. run .. '\n' .. ARGV[3], 'PX', ARGV[4])
return {'OK'}
