-- KEYS bans; ARGV account, revision, text, bytes of news. A repeat is written again: replicas confirm what a connection wrote, and the first one may
-- have come over another.
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if stands and stands ~= ARGV[3] then
  local revision = tonumber(string.match(stands, '^revision=(%d+)'))
  if not revision or revision >= tonumber(ARGV[2]) then return {'IS', stands} end
end
local last = redis.call('HINCRBY', KEYS[1], 'last', 1)
local news = (redis.call('HGET', KEYS[1], 'news') or '') .. last .. ':' .. ARGV[1] .. ' '
while #news > tonumber(ARGV[4]) do news = string.gsub(news, '^%S+ ', '', 1) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], 'news', news)
return {'OK'}
