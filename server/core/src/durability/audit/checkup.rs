//! Checkup: everything that is wrong with a zone's history as it is stored, beyond what an adoption would have to know:
//! a damaged record between two checkpoints loses nothing today, and may tomorrow. It replays no tick.

use everhold_protocol::Tick;

use super::ZoneHistory;
use crate::durability::pending_moves::section;
use crate::durability::record::{Record, RecordError};
use crate::durability::replay::ran_under;
use crate::durability::store::{CheckpointKind, RecordHash, ZoneData};
use crate::ownership::RulesId;
use crate::zone::{CaptureTitle, RestoreError, Zone, ZoneConfig};

/// A flaw of a stored history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFlaw {
    /// A part of a checkpoint is missing, or is not as long as it was.
    #[error("the checkpoint of tick {0} cannot be read whole")]
    Unread(Tick),
    /// A checkpoint is whole, and is not what was written.
    #[error("the checkpoint of tick {tick}: {error}")]
    Checkpoint {
        /// The checkpoint's.
        tick: Tick,
        /// The defect of its bytes.
        error: RestoreError,
    },
    /// A checkpoint holds another tick than the store says.
    #[error("the checkpoint of tick {tick} holds tick {found}")]
    OtherTick {
        /// The tick by the store's word.
        tick: Tick,
        /// The tick by its own.
        found: Tick,
    },
    /// A delta names a parent that is not the checkpoint before it.
    #[error("the checkpoint of tick {0} does not build on the one before it")]
    Unparented(Tick),
    /// Records between others are not there.
    #[error("the records of ticks {from} to {to} are missing")]
    Missing {
        /// The first.
        from: Tick,
        /// The last.
        to: Tick,
    },
    /// A record's bytes are not what was written.
    #[error("the record of tick {tick}: {error}")]
    Record {
        /// The record's.
        tick: Tick,
        /// The defect.
        error: RecordError,
    },
    /// A record names another predecessor than the one before it, or than the newest checkpoint.
    #[error("the record of tick {0} does not follow the one before it")]
    Unlinked(Tick),
}

impl HistoryFlaw {
    /// Returns a code for programs: it never changes, and the text may.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unread(_) => "checkpoint_unread",
            Self::Checkpoint {
                error: RestoreError::Layout { .. },
                ..
            } => "layout_unknown",
            Self::Record { error, .. } if error.is_of_later_build() => "layout_unknown",
            Self::Checkpoint { .. } | Self::OtherTick { .. } => "checkpoint_damaged",
            Self::Unparented(_) => "chain_broken",
            Self::Missing { .. } => "records_missing",
            Self::Record { .. } => "record_damaged",
            Self::Unlinked(_) => "journal_broken",
        }
    }
}

/// The outcome of a checkup.
#[derive(Default)]
pub struct Checkup {
    /// Everything that is wrong, checkpoints before records, each in order of tick.
    pub flaws: Vec<HistoryFlaw>,
    /// Checkpoints whose state was restored and has the digest that they say.
    pub restored: usize,
    /// Rules of bases that were not restored, because those rules are not at hand.
    pub rules_missing: Vec<RulesId>,
    /// The state of the newest checkpoint, if it was restored.
    pub newest: Option<Zone>,
}

impl ZoneHistory {
    /// Looks at every checkpoint and every record. `config_of` gives the configuration of the zone under rules, if they
    /// are at hand: checkpoints are restored under those that they were written under.
    #[must_use]
    pub fn checkup(&self, config_of: &dyn Fn(RulesId) -> Option<ZoneConfig>) -> Checkup {
        let mut checkup = Checkup::default();
        self.check_bodies(&mut checkup, config_of);
        self.check_records(&mut checkup.flaws);
        checkup
    }

    /// Returns the rules that the zone ran at its end, as far as its data says so.
    #[must_use]
    pub fn ran_under(&self) -> Option<RulesId> {
        let records = self.records.values().cloned().collect();
        let of_records = ran_under(&ZoneData {
            records,
            ..ZoneData::default()
        });
        let of_bases = || {
            let places = (0..self.chain.len()).rev();
            let terms = |place: usize| self.title(place)?.terms;
            places.into_iter().find_map(terms).map(|(_, id)| id)
        };
        of_records.or_else(of_bases)
    }

    fn check_bodies(&self, checkup: &mut Checkup, config_of: &dyn Fn(RulesId) -> Option<ZoneConfig>) {
        // The bodies of the chain so far, if all of them are whole; and under which rules they are restored.
        let mut chain: Option<(Vec<bytes::Bytes>, Option<ZoneConfig>)> = None;
        for (place, head) in self.chain.iter().enumerate() {
            let tick = head.position.tick;
            let read = self.checkpoint(place).ok();
            // Moves of value stand behind the state, for the archive.
            let split = read.and_then(|checkpoint| section::split(&checkpoint.body).ok());
            let Some((body, _)) = split else {
                checkup.flaws.push(HistoryFlaw::Unread(tick));
                chain = None;
                continue;
            };
            match head.kind {
                CheckpointKind::Base => {
                    let id = CaptureTitle::read(&body)
                        .ok()
                        .and_then(|title| title.terms)
                        .map(|(_, id)| id);
                    let config = id.and_then(config_of);
                    if let (Some(id), None) = (id, &config)
                        && !checkup.rules_missing.contains(&id)
                    {
                        checkup.rules_missing.push(id);
                    }
                    chain = Some((vec![body.clone()], config));
                }
                CheckpointKind::Delta { parent } => {
                    if place == 0 || self.chain[place - 1].position != parent {
                        checkup.flaws.push(HistoryFlaw::Unparented(tick));
                        chain = None;
                    }
                    if let Some((bodies, _)) = &mut chain {
                        bodies.push(body.clone());
                    }
                }
            }
            let restored = match (CaptureTitle::read(&body), &chain) {
                (Err(error), _) => Err(HistoryFlaw::Checkpoint { tick, error }),
                (Ok(title), _) if title.tick != tick => Err(HistoryFlaw::OtherTick {
                    tick,
                    found: title.tick,
                }),
                (Ok(_), Some((bodies, Some(config)))) => {
                    let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
                    let zone = Zone::restore(config.clone(), &bodies);
                    zone.map(Some).map_err(|error| HistoryFlaw::Checkpoint { tick, error })
                }
                _ => Ok(None),
            };
            match restored {
                Ok(None) => {}
                Ok(zone) => (checkup.restored, checkup.newest) = (checkup.restored + 1, zone),
                // Those that build on it say no more than this.
                Err(flaw) => {
                    checkup.flaws.push(flaw);
                    chain = None;
                }
            }
        }
    }

    fn check_records(&self, flaws: &mut Vec<HistoryFlaw>) {
        let head = self.chain.last().map(|head| head.position);
        let mut before: Option<(Tick, RecordHash)> = None;
        for (tick, stored) in &self.records {
            if let Some((last, hash)) = before {
                if *tick != last.next() {
                    let (from, to) = (last.next(), *tick - 1);
                    flaws.push(HistoryFlaw::Missing { from, to });
                } else if stored.prev_hash != hash {
                    flaws.push(HistoryFlaw::Unlinked(*tick));
                }
            } else if *tick == Tick(1) && stored.prev_hash != RecordHash::GENESIS {
                flaws.push(HistoryFlaw::Unlinked(*tick));
            }
            if let Some(head) = head
                && head.tick.next() == *tick
                && head.hash != stored.prev_hash
                && before.is_none_or(|(_, hash)| hash == stored.prev_hash)
            {
                flaws.push(HistoryFlaw::Unlinked(*tick));
            }
            if let Err(error) = Record::decode(stored) {
                flaws.push(HistoryFlaw::Record { tick: *tick, error });
            }
            before = Some((*tick, stored.hash));
        }
        let first = self.records.keys().next().copied();
        if let (Some(head), Some(first), Some((last, _))) = (head, first, before)
            && first > head.tick.next()
            && last > head.tick
        {
            let (from, to) = (head.tick.next(), first - 1);
            flaws.push(HistoryFlaw::Missing { from, to });
        }
    }
}
