-- KEYS meta journal chain parts; ARGV epoch nonce, then the position of the last checkpoint that is kept as the chain's lines begin
-- ("epoch tick hash ", or '' if none is kept), and the last tick whose record is kept. What this very epoch wrote stays.
local refused = fence_check()
if refused then return refused end
local mine = tonumber(ARGV[1])
local chain = redis.call('LRANGE', KEYS[3], 0, -1)
local kept = ARGV[3] == '' and 0 or #chain
for index, line in ipairs(chain) do
  if ARGV[3] ~= '' and string.sub(line, 1, #ARGV[3]) == ARGV[3] then kept = index end
end
local names = {}
for index, line in ipairs(chain) do
  if index <= kept or checkpoint(line).epoch == mine then
    names[string.match(line, '^%d+ %d+ %x+ ')] = true
  else
    redis.call('LREM', KEYS[3], 0, line)
  end
end
for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
  local name = string.match(field, '^%d+ %d+ %x+ ')
  if not names[name] and tonumber(string.match(field, '^%d+')) ~= mine then redis.call('HDEL', KEYS[4], field) end
end

local bounds = redis.call('HMGET', KEYS[1], 'first', 'last')
local first, last = tonumber(bounds[1]), tonumber(bounds[2])
if not last or last <= tonumber(ARGV[4]) then return {'OK'} end
for tick = tonumber(ARGV[4]) + 1, last do
  local entry = redis.call('HGET', KEYS[2], tick)
  if entry and epoch_of(entry) ~= mine then redis.call('HDEL', KEYS[2], tick) end
end
set_bounds(first, last)
return {'OK'}
