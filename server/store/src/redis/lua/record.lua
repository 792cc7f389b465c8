-- KEYS home. The record, and the run id of the server that has it: one that was promoted, or started anew, has another.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {redis.call('GET', KEYS[1]) or '', run}
