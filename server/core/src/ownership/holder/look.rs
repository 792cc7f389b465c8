//! The look at the authority: the leases, and the directory of shards in which this one says that it lives.
//!
//! Both are asked for at once, and what cannot be read of one says nothing of the other: while a node of a Cluster is
//! gone, the zones of the other nodes are watched, claimed, and routed to as ever.

use std::collections::BTreeSet;
use std::time::Duration;

use everhold_protocol::ZoneName;

use super::command::{HolderCommand, Request, Views};
use super::remark::{Remark, RequestFailure, Service, ZoneRemark};
use super::{Holder, HolderStep};
use crate::ownership::authority::{AuthorityError, LeaseView, Leases};
use crate::ownership::grant::Nonce;
use crate::ownership::membership::ShardView;

/// One look under way.
#[derive(Debug, Default)]
pub(super) struct Look {
    began_at: Duration,
    /// `None` as long as none could be read.
    leases: Option<Vec<LeaseView>>,
    shards: Option<Vec<ShardView>>,
}

impl Holder {
    pub(super) fn begin_look(&mut self, now: Duration) {
        self.look = Look {
            began_at: now,
            ..Look::default()
        };
        let max = Some(self.answer_max());
        self.ask(Request::Leases, max);
        if now >= self.announce_at {
            self.ask(Request::Announce, max);
        } else {
            self.ask(Request::Shards, max);
        }
        self.step = HolderStep::Looking;
    }

    /// Passes the leases that could be read to the contender, which claims. `now` is read after the answer came.
    pub(super) fn handle_leases(&mut self, now: Duration, leases: Result<Leases, AuthorityError>) {
        let leases = match leases {
            Ok(leases) => leases,
            Err(error) => {
                if let Some(lasted) = self.outages.looks.note(now) {
                    self.log(Remark::Failing(RequestFailure::Leases(error.to_string()), lasted));
                }
                return;
            }
        };
        if leases.unread.is_empty() {
            if let Some(lasted) = self.outages.looks.end(now) {
                self.log(Remark::Answered(Service::Leases, lasted));
            }
        } else if let Some(lasted) = self.outages.looks.note(now) {
            let first = leases.unread.first().cloned();
            self.log(Remark::Failing(
                RequestFailure::SomeLeases(leases.unread.len(), first),
                lasted,
            ));
        }
        self.note_damaged(&leases);
        self.note_unconfirmed(now, &leases.views);
        self.census.handle_leases(now, &leases);
        let news = self.vacancies.handle_leases(now, &leases).into_iter();
        self.commands.extend(news.map(HolderCommand::ReportVacancy));
        let mut claimable = leases.clone();
        // What is in memory here is watched also while it is left to others: they may find nothing.
        let suspended = self.contender.suspended();
        let is_left = |zone: &ZoneName| self.is_shunned(zone, now) && !suspended.contains_key(zone);
        claimable
            .views
            .retain(|view| self.census.has(&view.zone) && !is_left(&view.zone));
        let forgotten = claimable.views.iter().filter(|view| self.census.is_forgotten(view));
        let forgotten: BTreeSet<ZoneName> = forgotten.map(|view| view.zone.clone()).collect();
        self.contender.handle_leases(now, claimable);
        let (shunned, is_closed) = (&self.shunned, self.is_closed());
        self.contender
            .note_left(|zone| shunned.contains(zone, now) && !is_closed);
        for zone in &forgotten {
            self.contender.note_forgotten(zone);
        }
        let is_forgotten = |zone: &ZoneName| self.census.is_missing(zone) || forgotten.contains(zone);
        for (_, held) in self.held.iter().filter(|(zone, _)| is_forgotten(zone)) {
            held.lease.with(|lease| lease.handle_forgotten(now));
        }
        self.look.leases = Some(leases.views);
    }

    /// An authority that takes no announcement of this shard may take none of any: beats that stand still in it say
    /// nothing, and are not read.
    pub(super) fn handle_announced(&mut self, now: Duration, outcome: Result<(), AuthorityError>) {
        match outcome {
            Ok(()) => {
                self.announce_at = self.look.began_at + self.lease.renew_every;
                self.ask(Request::Shards, Some(self.answer_max()));
            }
            Err(error) => self.note_no_directory(now, &error),
        }
    }

    pub(super) fn handle_shards(&mut self, now: Duration, shards: Result<Vec<ShardView>, AuthorityError>) {
        let shards = match shards {
            Ok(shards) => shards,
            Err(error) => return self.note_no_directory(now, &error),
        };
        if let Some(lasted) = self.outages.directory.end(now) {
            self.log(Remark::Answered(Service::Directory, lasted));
        }
        for stranger in self.key_watch.handle_shards(&shards) {
            self.log(Remark::Stranger(stranger));
        }
        if let Some(dead) = self.dead.handle_shards(now, &shards) {
            self.ask(Request::Retire(dead), Some(self.answer_max()));
        }
        self.look.shards = Some(shards);
    }

    /// A withdrawal that failed is asked for again at the next look.
    pub(super) fn handle_retired(&mut self, nonce: Nonce, outcome: &Result<(), AuthorityError>) {
        if outcome.is_ok() {
            self.log(Remark::Retired(nonce));
        }
    }

    /// Shows what was seen, and goes on if there were leases: what was seen before is not what is claimed now.
    pub(super) fn conclude_look(&mut self, now: Duration) {
        let Look { leases, shards, .. } = std::mem::take(&mut self.look);
        let are_leases_seen = leases.is_some();
        let leases = leases.unwrap_or_default();
        self.commands.push_back(HolderCommand::Show(Views { leases, shards }));
        if are_leases_seen {
            self.begin_mending(now);
        } else {
            self.end_turn(now);
        }
    }

    /// Reports each zone whose lease makes no sense, once until it does again.
    fn note_damaged(&mut self, leases: &Leases) {
        let found: Vec<ZoneName> = leases.damaged.difference(&self.damaged).cloned().collect();
        for zone in found {
            self.log_zone(&zone, ZoneRemark::Damaged);
        }
        self.damaged.retain(|zone| leases.unread.contains(zone));
        self.damaged.extend(leases.damaged.iter().cloned());
    }

    fn note_no_directory(&mut self, now: Duration, error: &AuthorityError) {
        if let Some(lasted) = self.outages.directory.note(now) {
            self.log(Remark::Failing(RequestFailure::Directory(error.to_string()), lasted));
        }
    }
}
