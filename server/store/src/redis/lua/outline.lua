-- KEYS meta chain quarantine. What there is of a zone, without records and parts.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'first', 'last', 'hollow')
if not meta[1] then return {'LOST'} end
return {
  'OK', meta[1], meta[2], meta[3] or '', meta[4] or '', meta[5] or '',
  redis.call('LRANGE', KEYS[2], 0, -1), redis.call('HGETALL', KEYS[3]),
}
