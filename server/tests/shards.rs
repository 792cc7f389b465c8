//! Real shard processes, real QUIC, real signals.

#[path = "shards/world.rs"]
mod world;
#[path = "shards/visitor.rs"]
mod visitor;
#[path = "shards/mixed.rs"]
mod mixed;
#[path = "shards/rules.rs"]
mod rules;
#[path = "shards/rolling.rs"]
mod rolling;
#[path = "shards/golden.rs"]
mod golden;
#[path = "shards/verify.rs"]
mod verify;
#[path = "shards/failover.rs"]
mod failover;
#[path = "shards/outage.rs"]
mod outage;
#[path = "shards/deleted.rs"]
mod deleted;
#[path = "shards/strangers.rs"]
mod strangers;
#[path = "shards/zombie.rs"]
mod zombie;
#[path = "shards/hostile.rs"]
mod hostile;
#[path = "shards/scattered.rs"]
mod scattered;
#[path = "shards/waiting.rs"]
mod waiting;
#[path = "shards/siege.rs"]
mod siege;
#[path = "shards/suspension.rs"]
mod suspension;
#[path = "shards/dying.rs"]
mod dying;
#[path = "shards/unstored.rs"]
mod unstored;
#[path = "shards/admission.rs"]
mod admission;
#[path = "shards/leaving.rs"]
mod leaving;
#[path = "shards/redis.rs"]
mod redis;
#[path = "shards/forgotten.rs"]
mod forgotten;
#[path = "shards/homes.rs"]
mod homes;
#[path = "shards/archive.rs"]
mod archive;
#[path = "shards/bans.rs"]
mod bans;
#[path = "shards/ledger.rs"]
mod ledger;
#[path = "shards/restored.rs"]
mod restored;
#[path = "shards/plain.rs"]
mod plain;
#[path = "shards/accounts.rs"]
mod accounts;
#[path = "shards/at_rest.rs"]
mod at_rest;
#[path = "shards/archive_cost.rs"]
mod archive_cost;
#[path = "shards/damage.rs"]
mod damage;
#[path = "shards/replay.rs"]
mod replay;
#[path = "shards/rest.rs"]
mod rest;
#[path = "shards/backup.rs"]
mod backup;
#[path = "shards/evidence.rs"]
mod evidence;
#[path = "shards/apart.rs"]
mod apart;
#[path = "shards/guardian.rs"]
mod guardian;
#[path = "shards/wedge.rs"]
mod wedge;
#[path = "shards/flood.rs"]
mod flood;
#[path = "shards/overload.rs"]
mod overload;
#[path = "shards/unowned.rs"]
mod unowned;
#[path = "shards/panics.rs"]
mod panics;
#[path = "shards/sweep.rs"]
mod sweep;
#[path = "shards/python.rs"]
mod python;
#[path = "shards/addresses.rs"]
mod addresses;
#[path = "shards/keys.rs"]
mod keys;
#[path = "shards/unread.rs"]
mod unread;
#[path = "shards/stopping.rs"]
mod stopping;
#[path = "shards/demo.rs"]
mod demo;
#[path = "shards/usage.rs"]
mod usage;
#[path = "shards/vital.rs"]
mod vital;
