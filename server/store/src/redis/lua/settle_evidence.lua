-- KEYS evidence; ARGV the mark, and 'exported' or 'forgotten'. An operator's word: there is no fence to check.
if redis.call('HGET', KEYS[1], 'mark') ~= ARGV[1] then return {'NONE'} end
if ARGV[2] == 'forgotten' then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'exported', 1)
end
return {'OK'}
