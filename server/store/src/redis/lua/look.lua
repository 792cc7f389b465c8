-- KEYS: leases. Answers a line for each: its fields, '-' for one that is not there; nothing if there is no lease.
local lines = {}
for index, key in ipairs(KEYS) do
  local now = redis.pcall('HMGET', key, unpack(ARGV))
  local line = ''
  if now.err then
    line = '-'
  else
    local is_there = false
    for field, word in ipairs(now) do
      is_there = is_there or word
      now[field] = word or '-'
    end
    if is_there then line = table.concat(now, ' ') end
  end
  lines[index] = line
end
return lines
