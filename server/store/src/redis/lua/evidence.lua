-- KEYS evidence; ARGV a field. What is known of the evidence, and the field's value, if it is sealed.
local kept = redis.call('HMGET', KEYS[1], 'mark', 'exported', 'later', ARGV[1])
if not kept[1] then return {'OK', '', '', '', false} end
return {'OK', kept[1], kept[2] or '', kept[3] or '0', kept[4]}
