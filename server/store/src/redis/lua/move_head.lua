-- KEYS meta journal chain parts quarantine; ARGV epoch nonce, then the position's epoch, tick, hash in hexadecimal; '1' for a base; parts,
-- bytes; for a delta its parent's epoch, tick, hash; then the position's hash in bytes.
local refused = fence_check()
if refused then return refused end
local position = {epoch = tonumber(ARGV[3]), tick = tonumber(ARGV[4]), hash = ARGV[5]}
local is_base, parts, bytes = ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local chain = redis.call('LRANGE', KEYS[3], 0, -1)
local current, base, base_index
for index, line in ipairs(chain) do
  current = checkpoint(line)
  if current.is_base then base, base_index = current, index end
  if current.epoch == position.epoch and current.tick == position.tick and current.hash == position.hash then return {'OK'} end
end

-- A delta builds on the head; a base is newer than it.
if is_base then
  local is_newer = not current or position.epoch > current.epoch
    or (position.epoch == current.epoch and position.tick > current.tick)
  if not is_newer then return {'PARENT'} end
else
  local is_next = current and current.epoch == tonumber(ARGV[9]) and current.tick == tonumber(ARGV[10])
    and current.hash == ARGV[11] and position.tick > current.tick
  if not is_next then return {'PARENT'} end
end

-- All parts are there and no other: an earlier attempt at the same position may have had more.
local prefix = table.concat({ARGV[3], ARGV[4], ARGV[5]}, ' ') .. ' '
local found, length = 0, 0
for index = 0, parts - 1 do
  local part = redis.call('HSTRLEN', KEYS[4], prefix .. index)
  if part > 0 then found, length = found + 1, length + part end
end
if found ~= parts or length ~= bytes then
  return {'CORRUPT', string.format('%d of %d parts, %d of %d bytes of the checkpoint of tick %d were written',
    found, parts, length, bytes, position.tick)}
end

-- A head that a higher epoch moves is the truth: records of a lower epoch that do not lead to it or follow from it are no history.
local bounds = redis.call('HMGET', KEYS[1], 'first', 'last')
local first, last = tonumber(bounds[1]), tonumber(bounds[2])
if last and last >= position.tick then
  local at, after = redis.call('HGET', KEYS[2], position.tick), redis.call('HGET', KEYS[2], position.tick + 1)
  local fits = (at or after) and (not at or hash_of(at) == ARGV[12]) and (not after or string.sub(after, 1, 32) == ARGV[12])
  if not fits then
    for tick = position.tick, last do
      local entry = redis.call('HGET', KEYS[2], tick)
      if entry and epoch_of(entry) >= tonumber(ARGV[1]) then
        return {'CORRUPT', string.format('this epoch has another record at tick %d', tick)}
      end
    end
    for tick = position.tick, last do redis.call('HDEL', KEYS[2], tick) end
    last = position.tick - 1
    if first > last then
      first, last = nil, nil
      redis.call('HDEL', KEYS[1], 'first', 'last')
    else
      redis.call('HSET', KEYS[1], 'last', last)
    end
  end
end

local extra = parts
while redis.call('HDEL', KEYS[4], prefix .. extra) == 1 do extra = extra + 1 end
redis.call('RPUSH', KEYS[3], prefix .. table.concat({ARGV[6], ARGV[7], ARGV[8]}, ' '))
if not is_base then return {'OK'} end

-- A new base makes the one before the previous, and all journal up to the previous, superfluous.
redis.call('HDEL', KEYS[1], 'hollow')
if base then
  redis.call('LTRIM', KEYS[3], base_index - 1, -1)
  if first and first <= base.tick then
    for tick = first, math.min(last, base.tick) do redis.call('HDEL', KEYS[2], tick) end
    if last <= base.tick then
      redis.call('HDEL', KEYS[1], 'first', 'last')
    else
      redis.call('HSET', KEYS[1], 'first', base.tick + 1)
    end
  end
end
local kept = {}
for _, line in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do kept[string.match(line, '^%d+ %d+ %x+ ')] = true end
for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
  if not kept[string.match(field, '^%d+ %d+ %x+ ')] then redis.call('HDEL', KEYS[4], field) end
end
local quarantine = redis.call('HGETALL', KEYS[5])
for index = 1, #quarantine, 2 do
  if tonumber(quarantine[index + 1]) <= position.tick then redis.call('HDEL', KEYS[5], quarantine[index]) end
end
return {'OK'}
