-- KEYS meta journal chain; ARGV epoch nonce first_tick, then prev_hash, hash, entry of each record. Answers end with the echo of the last
-- record's hash, so that the caller can tell its own answer from any other.
local refused = fence_check()
if refused then return refused end
local echo = ARGV[#ARGV - 1]
if redis.call('HEXISTS', KEYS[1], 'hollow') == 1 then return {'GAP', 0, echo} end

local first, count, mine = tonumber(ARGV[3]), (#ARGV - 3) / 3, tonumber(ARGV[1])
local skip = 0
while skip < count do
  local entry = redis.call('HGET', KEYS[2], first + skip)
  if not entry or hash_of(entry) ~= ARGV[5 + 3 * skip] then break end
  skip = skip + 1
end
if skip == count then
  write_again()
  return {'DUPLICATE', echo}
end

local tick, prev = first + skip, ARGV[4 + 3 * skip]
local bounds = redis.call('HMGET', KEYS[1], 'first', 'last')
local stored_first, stored_last = tonumber(bounds[1]), tonumber(bounds[2])
-- What this epoch, or a higher one, wrote is never written over.
for later = tick, stored_last or 0 do
  local entry = redis.call('HGET', KEYS[2], later)
  if entry and epoch_of(entry) >= mine then return {'FORK', later, echo} end
end

local chain = redis.call('LRANGE', KEYS[3], 0, -1)
local head = chain[#chain] and checkpoint(chain[#chain])
local before, follows = tick - 1, false
if before == 0 and not head and prev == string.rep('\0', 32) then follows = true end
if not follows then
  local hex = string.gsub(prev, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
  for _, line in ipairs(chain) do
    local covered = checkpoint(line)
    if covered.tick == before and covered.hash == hex then follows = true end
  end
end
if not follows then
  local entry = before >= 0 and redis.call('HGET', KEYS[2], before)
  if entry and hash_of(entry) == prev then
    follows = true
  elseif entry and epoch_of(entry) < mine then
    return {'GAP', math.max(before - 1, 0), echo}
  elseif entry then
    return {'FORK', before, echo}
  else
    return {'GAP', math.max(stored_last or 0, head and head.tick or 0), echo}
  end
end
-- A checkpoint covers what would be written over; only a base could take that back.
if head and tick <= head.tick and redis.call('HEXISTS', KEYS[2], tick) == 1 then return {'GAP', head.tick, echo} end

for later = tick, stored_last or 0 do redis.call('HDEL', KEYS[2], later) end
for index = skip, count - 1 do redis.call('HSET', KEYS[2], first + index, ARGV[6 + 3 * index]) end
redis.call('HSET', KEYS[1], 'last', first + count - 1)
if not stored_first or tick < stored_first then redis.call('HSET', KEYS[1], 'first', tick) end
return {'OK', echo}
