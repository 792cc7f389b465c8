local now = lease()
if not now[1] then
  clear(now)
  redis.call('HSET', KEYS[1], 'epoch', 0, 'nonce', 0, 'beat', 0, 'released', 1, 'addr', '0.0.0.0:0', 'players', 0)
end
return {'OK'}
