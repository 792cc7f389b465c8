-- KEYS meta chain quarantine journal. What there is of a zone, without records and parts, and the epoch of the last record.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'first', 'last', 'hollow', 'seal')
if not meta[1] then return {'LOST'} end
local last = meta[4] and redis.call('HGET', KEYS[4], meta[4])
local epoch = ''
if last then
  local a, b, c, d = string.byte(last, 65, 68)
  epoch = string.format('%.0f', ((a * 256 + b) * 256 + c) * 256 + d)
end
return {
  'OK', meta[1], meta[2], meta[3] or '', meta[4] or '', meta[5] or '', epoch,
  redis.call('LRANGE', KEYS[2], 0, -1), redis.call('HGETALL', KEYS[3]), meta[6] or '',
}
