//! The outcomes of an adoption: the history that the zone goes on from, or why it does not. What is read until then,
//! the adoption itself says.

use everhold_protocol::Tick;

use super::archived::Bereft;
use super::{Adoption, AdoptionCommand, AdoptionNotice, AdoptionStep, FromMemory, History, Start};
use crate::durability::journal::Journal;
use crate::durability::recovery::{Damage, Recovered, Recovery};
use crate::durability::replay::Replayed;
use crate::ownership::DataStamp;

impl Adoption {
    /// Goes on from a memory that ends here and is the newest that there is. An earlier owner may have had more.
    pub(super) fn go_on_from(&mut self, memory: DataStamp) {
        let (last, promised) = (memory.tick, self.promised);
        let from = match promised.0.saturating_sub(last.0) {
            0 => FromMemory::Newest,
            lost_ticks => {
                self.log(AdoptionNotice::GoneBack { last, promised });
                FromMemory::Older { lost_ticks }
            }
        };
        self.queue.push_back(AdoptionCommand::StartFromMemory(from));
    }

    /// Gives the zone up because nothing whole is left of the stored history, which ended at `end`; with memory, goes
    /// back to that, and without, to the archive. What seems to be of another build is left to that build.
    pub(super) fn fail_damaged(&mut self, damage: Damage, end: Tick) {
        match self.memory {
            Some(memory) if !damage.is_foreign() => self.go_back(memory, &damage, end),
            None if !damage.is_foreign() => {
                if let Err(Bereft::Damaged(damage, _)) = self.turn_to_archive(Bereft::Damaged(damage, end)) {
                    self.fail(damage.into());
                }
            }
            _ => self.fail(damage.into()),
        }
    }

    /// Goes back to a memory that ends at `memory`, because newer data, which ended at `end`, has this damage.
    pub(super) fn go_back(&mut self, memory: DataStamp, damage: &Damage, end: Tick) {
        let lost_ticks = end.0.saturating_sub(memory.tick.0);
        self.log(AdoptionNotice::DamagedBeyondMemory {
            what: damage.to_string(),
            last: memory.tick,
            lost_ticks,
        });
        let from = AdoptionCommand::StartFromMemory(FromMemory::OverDamage { lost_ticks });
        self.queue.push_back(from);
    }

    /// Goes on from what was replayed, once the store has nothing else.
    pub(super) fn conclude(&mut self, recovery: &Recovery, replayed: Replayed, recovered: Recovered) {
        let Some(to) = recovered.rewind else {
            self.start(replayed, recovered);
            return;
        };
        self.log(AdoptionNotice::Damaged {
            what: recovery.first_damage().map(ToString::to_string).unwrap_or_default(),
            given_up: recovered.given_up,
            last: to.last,
            lost_ticks: recovered.lost_ticks,
        });
        self.enter(AdoptionStep::Rewind(Box::new((replayed, recovered)), to));
    }

    pub(super) fn start(&mut self, replayed: Replayed, recovered: Recovered) {
        let (last, promised) = (replayed.last.tick, self.promised);
        let rewound_ticks = recovered.lost_ticks.max(promised.0.saturating_sub(last.0));
        if rewound_ticks > recovered.lost_ticks {
            self.log(AdoptionNotice::GoneBack { last, promised });
        }
        let history = History::Stored {
            is_lost: self.is_lost,
            replayed_ticks: replayed.replayed_ticks,
            checked_digests: replayed.checked_digests,
            digest_equal: replayed.digest_equal,
            rewound_ticks,
            checkpoints_given_up: recovered.given_up,
            evidence: self.evidence,
        };
        let start = Start {
            zone: replayed.zone,
            journal: Journal::new(self.grant.epoch(), replayed.last),
            // What is left of a damaged history has lost its reserve: a base under the new epoch is written first.
            chain: if recovered.rewind.is_none() {
                replayed.chain
            } else {
                Vec::new()
            },
            quarantine: replayed.quarantine,
            moves: replayed.moves,
            rewound_ticks,
        };
        if self.memory.is_some() {
            self.queue.push_back(AdoptionCommand::DropMemory);
        }
        self.queue.push_back(AdoptionCommand::Start(Box::new(start), history));
    }
}
