-- Shared by the scripts of the authority. KEYS[1] is a zone's lease. One that makes no sense counts as none.
local FIELDS = {'epoch', 'nonce', 'beat', 'released', 'addr', 'players', 'ttl_ms', 'mark'}
-- Of all but the last two, which an earlier build does not write.
local SHAPES = {'^%d+$', '^%d+$', '^%d+$', '^[01]$', '^%S+:%d+$', '^%d+$'}
local function lease()
  if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return {} end
  local now = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  for index, shape in ipairs(SHAPES) do
    if not now[index] or not string.find(now[index], shape) then return {} end
  end
  return now
end
local function held(now)
  if not now[1] then return {'UNKNOWN'} end
  return {'HELD', unpack(now, 1, #FIELDS)}
end
-- Makes room for a lease where there is none that makes sense.
local function clear(now)
  if not now[1] then redis.call('DEL', KEYS[1]) end
end
