-- KEYS meta journal chain parts quarantine; ARGV epoch nonce, then the position's epoch, tick, hash in hexadecimal; '1' for a base; parts,
-- bytes; for a delta its parent's epoch, tick, hash; then the position's hash in bytes.
local refused = fence_refusal()
if refused then return refused end
local position = {epoch = tonumber(ARGV[3]), tick = tonumber(ARGV[4]), hash = ARGV[5]}
local is_base, parts, bytes = ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local chain = redis.call('LRANGE', KEYS[3], 0, -1)
local current, base, base_index
for index, line in ipairs(chain) do
  current = checkpoint(line)
  if current.is_base then base, base_index = current, index end
  if current.epoch == position.epoch and current.tick == position.tick and current.hash == position.hash then
    raise_fence()
    write_again()
    return {'OK'}
  end
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
  found = found + redis.call('HEXISTS', KEYS[4], prefix .. index)
  length = length + redis.call('HSTRLEN', KEYS[4], prefix .. index)
end
if found ~= parts or length ~= bytes then
  return {'CORRUPT', string.format('%d of %d parts, %d of %d bytes of the checkpoint of tick %d were written',
    found, parts, length, bytes, position.tick)}
end

-- A head that a higher epoch moves is the truth: records of a lower epoch that do not lead to it or follow from it are no history.
local bounds = redis.call('HMGET', KEYS[1], 'first', 'last')
local first, last = tonumber(bounds[1]), tonumber(bounds[2])
local function next_record(tick)
  while last and tick <= last do
    local entry = redis.call('HGET', KEYS[2], tick)
    if entry then return tick, entry end
    tick = tick + 1
  end
end
local function follows(tick, entry)
  return not tick or (tick == position.tick + 1 and string.sub(entry, 1, 32) == ARGV[12])
end
local at, entry = next_record(position.tick)
local fits
if at == position.tick then
  fits = hash_of(entry) == ARGV[12] and follows(next_record(position.tick + 1))
else
  fits = follows(at, entry)
end
if not fits then
  for tick = at, last do
    entry = redis.call('HGET', KEYS[2], tick)
    if entry and epoch_of(entry) >= tonumber(ARGV[1]) then
      return {'CORRUPT', string.format('this epoch has another record at tick %d', tick)}
    end
  end
end

-- From here on it writes, and first what frees memory: a Redis at its limit takes what a script adds after that.
local chain_from, trimmed = 0, 0
if is_base and base then chain_from, trimmed = base_index - 1, base.tick end
redis.call('LTRIM', KEYS[3], chain_from, -1)
if not fits then
  for tick = at, last do redis.call('HDEL', KEYS[2], tick) end
  last = at - 1
end
-- A new base makes the one before the previous, and all journal up to the previous, superfluous.
for tick = first or 1, math.min(last or 0, trimmed) do redis.call('HDEL', KEYS[2], tick) end
if is_base then
  local kept = {[prefix] = true}
  for _, line in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do kept[string.match(line, '^%d+ %d+ %x+ ')] = true end
  for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
    if not kept[string.match(field, '^%d+ %d+ %x+ ')] then redis.call('HDEL', KEYS[4], field) end
  end
  local quarantine = redis.call('HGETALL', KEYS[5])
  for index = 1, #quarantine, 2 do
    if tonumber(quarantine[index + 1]) <= position.tick then redis.call('HDEL', KEYS[5], quarantine[index]) end
  end
  redis.call('HDEL', KEYS[1], 'hollow')
end
local extra = parts
while redis.call('HDEL', KEYS[4], prefix .. extra) == 1 do extra = extra + 1 end
redis.call('RPUSH', KEYS[3], prefix .. table.concat({ARGV[6], ARGV[7], ARGV[8]}, ' '))
raise_fence()
if not fits or (first and first <= trimmed) then set_bounds(math.max(first, trimmed + 1), last) end
return {'OK'}
