-- KEYS evidence. An operator's word: there is no fence to check, and the mark is not looked into.
redis.call('UNLINK', KEYS[1])
return {'OK'}
