-- KEYS meta evidence; ARGV epoch nonce, then the part's index, its bytes. The first part deletes what was never sealed; but for that, the
-- first write is one that a Redis without room refuses, so that all or nothing is done.
local refused = fence_refusal()
if refused then return refused end
if redis.call('HEXISTS', KEYS[2], 'mark') == 1 then return {'COUNTED'} end
if ARGV[3] == '0' then drop_unsealed(KEYS[2]) end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
raise_fence()
return {'OK'}
