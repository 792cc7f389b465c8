//! The keeper's look at the authority: the leases, and the directory of shards in which this one says that it lives.
//!
//! Both are asked for at once, and what cannot be read of one says nothing of the other: while a node of a Cluster is gone, the zones of
//! the other nodes are watched, claimed, and routed to as ever.

use std::time::Instant;

use everhold_core::outage::Lasted;
use everhold_core::ownership::key_check::Stranger;
use everhold_core::ownership::{AuthorityError, LeaseView, Leases, ShardView};
use everhold_net::keys;
use everhold_os::clock;

use super::{Keeper, KeeperEvent, answer};

/// What a look at the leases showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The leases, or most of them.
    Leases,
    /// None.
    Nothing,
}

impl Keeper {
    /// Looks, and tells contender, census, and router what there is to see.
    pub(super) async fn announce_and_look(&mut self) -> Seen {
        let now = clock::boottime();
        let is_announcing = now >= self.announce_at;
        let (leases, (announced, shards)) = tokio::join!(
            answer(self.answer_max(), self.authority.leases()),
            self.announce_and_read_shards(is_announcing)
        );
        if is_announcing && announced.is_ok() {
            self.announce_at = now + self.lease.renew_every;
        }
        let seen = if leases.is_ok() { Seen::Leases } else { Seen::Nothing };
        let leases = self.note_leases(leases);
        let shards = self.note_shards(announced.and(shards));
        self.router.views(leases, shards);
        seen
    }

    /// An authority that takes no announcement of ours may take nobody's: beats that stand still in it say nothing.
    async fn announce_and_read_shards(
        &self,
        is_announcing: bool,
    ) -> (Result<(), AuthorityError>, Result<Vec<ShardView>, AuthorityError>) {
        let announced = if is_announcing {
            let announce = self.membership.announce(self.me, self.addr, &self.keys, self.lease.ttl);
            answer(self.answer_max(), announce).await
        } else {
            Ok(())
        };
        let shards = if announced.is_ok() {
            answer(self.answer_max(), self.membership.shards()).await
        } else {
            Ok(Vec::new())
        };
        (announced, shards)
    }

    /// What is claimed is what could be read.
    fn note_leases(&mut self, leases: Result<Leases, AuthorityError>) -> Vec<LeaseView> {
        let leases = match leases {
            Ok(leases) => leases,
            Err(error) => {
                if let Some(Lasted { ms, failures }) = self.outages.looks.note(Instant::now()) {
                    tracing::warn!(%error, ms, failures, "the leases cannot be read");
                }
                return Vec::new();
            }
        };
        if leases.unread.is_empty() {
            if let Some(Lasted { ms, failures }) = self.outages.looks.end(Instant::now()) {
                tracing::info!(ms, failures, "the leases can be read again");
            }
        } else if let Some(Lasted { ms, failures }) = self.outages.looks.note(Instant::now()) {
            let zones = leases.unread.len();
            let first = leases.unread.first().map(tracing::field::display);
            tracing::warn!(zones, first, ms, failures, "the leases of some zones cannot be read");
        }
        let now = clock::boottime();
        self.census.handle_leases(now, &leases);
        let mut claimable = leases.clone();
        claimable.views.retain(|view| !self.shunned.contains(&view.zone));
        self.contender.handle_leases(now, claimable);
        while let Some(zone) = self.contender.poll_taken() {
            tracing::info!(%zone, "the suspended zone was granted to another shard");
            self.guardian.note_taken(&zone);
            let _stopping = self.events.send(KeeperEvent::Taken(zone));
        }
        leases.views
    }

    fn note_shards(&mut self, shards: Result<Vec<ShardView>, AuthorityError>) -> Option<Vec<ShardView>> {
        let shards = match shards {
            Ok(shards) => shards,
            Err(error) => {
                if let Some(Lasted { ms, failures }) = self.outages.directory.note(Instant::now()) {
                    tracing::warn!(%error, ms, failures, "the directory of shards cannot be read or written");
                }
                return None;
            }
        };
        if let Some(Lasted { ms, failures }) = self.outages.directory.end(Instant::now()) {
            tracing::info!(ms, failures, "the directory of shards can be read and written again");
        }
        for Stranger { addr, kind } in self.key_watch.handle_shards(&shards) {
            let file = keys::file_of(kind);
            tracing::error!(
                %addr,
                file,
                "a living shard of this world has other keys: players of one cannot go on at the other; stop it, and copy one set of keys \
                 to every host (`everhold keys export`)"
            );
        }
        Some(shards)
    }
}
