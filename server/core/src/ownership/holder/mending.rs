//! Mending of what an authority or a store may have forgotten: leases of suspended zones are put back, missing zones
//! declared, and the store is asked whether another owner goes on with a zone that is suspended here. All of it is
//! asked for at once.

use std::time::Duration;

use everhold_protocol::{Epoch, ZoneName};

use super::command::{HolderCommand, Request};
use super::remark::{Remark, RequestFailure, ZoneRemark};
use super::{Holder, HolderStep};
use crate::ownership::authority::{AuthorityError, Renewal};
use crate::ownership::contender::{StoreData, SuspendedLease};
use crate::ownership::owner_mark::OwnerMark;

impl Holder {
    /// Asks for everything that the look showed to be in need of it. A suspended zone is never declared: its own lease
    /// is put back, which no other shard may claim at once.
    pub(super) fn begin_mending(&mut self, now: Duration) {
        let suspended = self.contender.suspended();
        let leases = suspended.values();
        let missing = leases.filter(|lease| self.census.is_missing(&lease.tenure.zone));
        let forgotten: Vec<Renewal> = missing
            .chain(self.contender.forgotten())
            .chain(self.contender.waiting(now))
            .map(|lease| self.put_back(lease))
            .collect();
        let undeclared = self.census.missing(now).into_iter();
        let undeclared: Vec<ZoneName> = undeclared.filter(|zone| !suspended.contains_key(zone)).collect();
        let taken: Vec<ZoneName> = self.contender.taken().cloned().collect();
        let max = Some(self.answer_max());
        if !forgotten.is_empty() {
            self.ask(Request::Reinstate(forgotten), max);
        }
        for zone in undeclared {
            self.ask(Request::Declare(zone), max);
        }
        for zone in taken {
            self.ask(Request::Data(zone), max);
        }
        self.step = HolderStep::Mending;
    }

    /// Returns the lease that is put back. Its mark says which epoch wrote the zone's data: a grant whose adoption
    /// failed wrote none.
    fn put_back(&self, lease: &SuspendedLease) -> Renewal {
        let (data, rules) = (lease.acknowledged, self.rules);
        Renewal {
            tenure: lease.tenure.clone(),
            players: 0,
            mark: (data.epoch > Epoch::NONE).then_some(OwnerMark { data, rules }),
        }
    }

    pub(super) fn handle_declared(&mut self, now: Duration, zone: ZoneName, outcome: Result<(), AuthorityError>) {
        match outcome {
            Ok(()) => {
                self.outages.declarations.end(now);
                // A shard is expected to declare what it prefers.
                if !self.census.is_preferred(&zone) {
                    self.log_zone(&zone, ZoneRemark::Declared);
                }
            }
            Err(error) => {
                if let Some(lasted) = self.outages.declarations.note(now) {
                    self.log(Remark::Failing(
                        RequestFailure::Declaration(zone, error.to_string()),
                        lasted,
                    ));
                }
            }
        }
    }

    /// Drops the memory of a zone with which another owner goes on: that owner's data is whole.
    pub(super) fn handle_data(&mut self, zone: &ZoneName, data: &StoreData) {
        if self.contender.handle_stored(zone, data) {
            self.log_zone(zone, ZoneRemark::Taken);
            self.holdings.note_taken(zone);
            self.tell_guardian();
            self.commands.push_back(HolderCommand::Drop(zone.clone()));
        }
    }
}
