-- KEYS bans; ARGV the number to tell news from. The marker, the number of the newest, and the accounts of those after the number. A number above the
-- newest is from before this data was lost: all is told.
local marker, last, news = unpack(redis.call('HMGET', KEYS[1], 'marker', 'last', 'news'))
last = tonumber(last or '0')
local after = tonumber(ARGV[1])
if after > last then after = 0 end
local answer = {marker or '', tostring(last)}
if after < last then
  for number, account in string.gmatch(news or '', '(%d+):(%d+)') do
    if tonumber(number) > after then answer[#answer + 1] = account end
  end
end
return answer
