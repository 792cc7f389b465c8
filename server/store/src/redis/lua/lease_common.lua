-- Shared by the scripts of the authority. KEYS[1] is a zone's lease.
local FIELDS = {'epoch', 'nonce', 'beat', 'released', 'addr', 'players'}
local function lease() return redis.call('HMGET', KEYS[1], unpack(FIELDS)) end
local function held(now)
  if not now[1] then return {'UNKNOWN'} end
  return {'HELD', unpack(now)}
end
