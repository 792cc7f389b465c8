-- KEYS home. The record, and the run id and replication id of the server that has it: one that was started anew has another run, one that was
-- promoted another replication.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
return {redis.call('GET', KEYS[1]) or '', run}
