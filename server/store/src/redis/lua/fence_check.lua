-- Shared by every script that writes to a zone. KEYS[1] is its meta hash, ARGV[1] the epoch, ARGV[2] the nonce (text: it has 64 bits, and
-- Lua's numbers are doubles). `fence_refusal` answers why the grant may not write, or nil; `fence_check` raises the fence to it besides.
local function fence_refusal()
  local fence = redis.call('HMGET', KEYS[1], 'epoch', 'nonce')
  if not fence[1] then return {'LOST'} end
  local theirs, mine = tonumber(fence[1]), tonumber(ARGV[1])
  if mine < theirs or (mine == theirs and fence[2] ~= ARGV[2]) then return {'FENCED', fence[1]} end
end
local function raise_fence()
  if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'nonce', ARGV[2]) end
end
-- Writes what is there once more: replicas confirm what a connection wrote, and a repeat may come over another one than the write that it
-- repeats.
local function write_again() redis.call('HSET', KEYS[1], 'nonce', ARGV[2]) end
local function fence_check()
  local refused = fence_refusal()
  if refused then return refused end
  raise_fence()
end

-- Deletes the parts of evidence that was never sealed. It writes nothing if there are none: what a script without room writes first is
-- to be refused, so that all or nothing is done.
local function drop_unsealed(evidence)
  if redis.call('EXISTS', evidence) == 1 and redis.call('HEXISTS', evidence, 'mark') == 0 then redis.call('UNLINK', evidence) end
end

-- A journal entry is prev_hash (32 bytes), hash (32), epoch (4, big endian), body.
local function hash_of(entry) return string.sub(entry, 33, 64) end
local function epoch_of(entry)
  local a, b, c, d = string.byte(entry, 65, 68)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

-- Notes the journal's ends, which are somewhere in first..last: a record may be missing at either.
local function set_bounds(first, last)
  while first and first <= last and redis.call('HEXISTS', KEYS[2], first) == 0 do first = first + 1 end
  while first and last >= first and redis.call('HEXISTS', KEYS[2], last) == 0 do last = last - 1 end
  if first and first <= last then
    redis.call('HSET', KEYS[1], 'first', first, 'last', last)
  else
    redis.call('HDEL', KEYS[1], 'first', 'last')
  end
end

-- A line of the chain is "epoch tick hash is_base parts bytes", the hash in hexadecimal.
local function checkpoint(line)
  local epoch, tick, hash, is_base = string.match(line, '^(%d+) (%d+) (%x+) ([01]) ')
  return {epoch = tonumber(epoch), tick = tonumber(tick), hash = hash, is_base = is_base == '1'}
end
