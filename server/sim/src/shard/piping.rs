//! The durable task of a simulated zone: what its pipeline commands becomes operations at the store, orders to its tick
//! loop, and packets.

use std::time::Duration;

use everhold_core::cluster::Home;
use everhold_core::durability::archive::WallMs;
use everhold_core::durability::archivist::{ArchivedRest, CutFacts};
use everhold_core::durability::store::{CheckpointHead, CheckpointKind, Origin, Position, Seal};
use everhold_core::durability::{PipelineCommand, PipelineConfig};
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::ownership::{RulesStamp, Tenure};
use everhold_core::replication::Datagrams;
use everhold_core::tick::TickOrder;
use everhold_core::zone::Outputs;
use everhold_protocol::codec::Reader;
use everhold_protocol::{Account, SnapshotHeader};

use super::archiving::note_news;
use super::{Kind, SimShard};
use crate::env::Env;
use crate::event::{ShardInput, StoreAnswer};
use crate::links::UNIX_S;
use crate::store::MemoryStore;

/// A cut is bytes after this time.
const ENCODING: Duration = Duration::from_millis(5);

impl SimShard {
    pub(super) fn carry_out_pipeline(
        &mut self,
        env: &mut Env,
        tenure: &Tenure,
        command: PipelineCommand<Datagrams, Outputs>,
    ) {
        match command {
            PipelineCommand::Tell(told) => {
                env.services.note_released(tenure, told.tick());
                env.services.check_leased(tenure, "tells");
                let peers = self.peers.clone();
                if let Some(hosted) = self.hosted_mut(tenure) {
                    hosted.egress.handle_told(told, || peers.clone());
                }
                self.drive_egress(env, tenure);
            }
            PipelineCommand::Show(shown) => {
                if self.world.durability.holds_snapshots() {
                    env.services.note_released(tenure, shown.tick());
                }
                self.show(env, tenure, &shown.into_inner());
            }
            PipelineCommand::LagChanged(state, ticks) => {
                env.took("a change of the checkpoints' lag");
                let zone = &tenure.zone;
                env.tell(|| format!("checkpoints of {zone} are {state:?}, {ticks} ticks behind"));
            }
            PipelineCommand::Log(_) => {}
            PipelineCommand::LogArchive(news) => note_news(env, tenure, &news),
            PipelineCommand::Archive(command) => self.ask_archivist(env, tenure, command),
            PipelineCommand::Append(_)
            | PipelineCommand::PutPart { .. }
            | PipelineCommand::MoveHead(_)
            | PipelineCommand::DropParts(..)
            | PipelineCommand::WriteSeal(_)
            | PipelineCommand::Create => self.begin_write(env, tenure, command),
            PipelineCommand::SetHome(account) => self.set_home(env, tenure, account),
            PipelineCommand::KeepRest(rest) => self.keep_rest(env, tenure, rest),
            PipelineCommand::Input(input) => {
                if let Some(hosted) = self.hosted_mut(tenure) {
                    let _comes_again = hosted.push(InboxEntry::Input(input));
                }
            }
            command => self.order(env, tenure, command),
        }
    }

    /// Begins an operation at the store.
    fn begin_write(&mut self, env: &mut Env, tenure: &Tenure, command: PipelineCommand<Datagrams, Outputs>) {
        let (whose, rules) = (tenure.clone(), self.rules_of(tenure));
        env.services.check_leased(tenure, "writes");
        match command {
            PipelineCommand::Append(records) => {
                self.ask_store(
                    env,
                    (tenure, Kind::Append),
                    PipelineConfig::ANSWER_MAX,
                    move |services| StoreAnswer::Appended(services.append(&whose, &records)),
                );
            }
            PipelineCommand::PutPart { position, index, bytes } => {
                self.ask_store(
                    env,
                    (tenure, Kind::Write),
                    PipelineConfig::ANSWER_MAX,
                    move |services| {
                        let put = |store: &mut MemoryStore| store.put_part(&whose, position, index, bytes.clone());
                        StoreAnswer::Done(services.write(&whose, put))
                    },
                );
            }
            PipelineCommand::MoveHead(head) => self.move_head(env, tenure, head),
            PipelineCommand::WriteSeal(position) => self.write_seal(env, tenure, position),
            PipelineCommand::DropParts(position, parts) => {
                env.took("a checkpoint that was given up");
                self.ask_store(
                    env,
                    (tenure, Kind::Write),
                    PipelineConfig::ANSWER_MAX,
                    move |services| {
                        let drop = |store: &mut MemoryStore| store.drop_parts(&whose, position, parts);
                        StoreAnswer::Done(services.write(&whose, drop))
                    },
                );
            }
            PipelineCommand::Create => {
                env.took("a data set that was made anew from memory");
                self.ask_store(
                    env,
                    (tenure, Kind::Create),
                    PipelineConfig::ANSWER_MAX,
                    move |services| {
                        services.rules.keep(rules);
                        let create = |store: &mut MemoryStore| store.create(&whose, Origin::Memory);
                        StoreAnswer::Done(services.decide(&whose, create))
                    },
                );
            }
            _ => unreachable!("the other commands ask no store"),
        }
    }

    /// Returns the rules that a hosted zone has.
    fn rules_of(&self, tenure: &Tenure) -> RulesStamp {
        let hosted = self.local.zones.get(&tenure.zone);
        hosted.map_or_else(|| self.zone_config(&tenure.zone).rules(), |hosted| hosted.rules)
    }

    fn move_head(&mut self, env: &mut Env, tenure: &Tenure, head: CheckpointHead) {
        let (whose, rules) = (tenure.clone(), self.rules_of(tenure));
        self.ask_store(
            env,
            (tenure, Kind::Write),
            PipelineConfig::ANSWER_MAX,
            move |services| {
                if head.kind == CheckpointKind::Base {
                    services.rules.keep(rules);
                }
                StoreAnswer::Done(services.move_head(&whose, head))
            },
        );
    }

    fn write_seal(&mut self, env: &mut Env, tenure: &Tenure, position: Position) {
        env.took("a zone that was sealed by its stop");
        let (whose, rules) = (tenure.clone(), self.rules_of(tenure));
        self.ask_store(
            env,
            (tenure, Kind::Write),
            PipelineConfig::ANSWER_MAX,
            move |services| {
                let seal = |store: &mut MemoryStore| store.seal(&whose, Seal { position, rules });
                StoreAnswer::Done(services.write(&whose, seal))
            },
        );
    }

    /// Carries out what concerns the zone's own threads.
    fn order(&mut self, env: &mut Env, tenure: &Tenure, command: PipelineCommand<Datagrams, Outputs>) {
        let now = env.now;
        if let PipelineCommand::Encode(frozen) = command {
            let is_archived = frozen.base && self.world.archive_interval.is_some();
            let wall = WallMs((UNIX_S * 1_000).cast_signed() + now.as_millis() as i64);
            let facts = is_archived.then(|| CutFacts::of(&frozen, &*self.rules, wall));
            let facts = facts.unwrap_or_default();
            let captured = ShardInput::Captured(tenure.clone(), Box::new(frozen.encode()), facts);
            self.schedule(env, ENCODING, captured);
            return;
        }
        let Some(hosted) = self.hosted_mut(tenure) else { return };
        match command {
            PipelineCommand::Cut(cut) => hosted.orders.push_back(TickOrder::Cut(cut)),
            PipelineCommand::Seal(cut) => hosted.orders.push_back(TickOrder::Seal(cut)),
            PipelineCommand::CaptureConfirmed => hosted.orders.push_back(TickOrder::CaptureConfirmed),
            PipelineCommand::CaptureFailed => hosted.orders.push_back(TickOrder::CaptureFailed),
            PipelineCommand::Roster => hosted.orders.push_back(TickOrder::Roster),
            PipelineCommand::Acknowledged(tick) => hosted.acknowledged = tick,
            PipelineCommand::NoteAlive => hosted.lease.with(|lease| lease.handle_tick(now)),
            _ => unreachable!("the other commands are carried out elsewhere"),
        }
    }

    /// Sends snapshots. What they call confirmed must be stored, whatever the gate has said of it.
    pub(super) fn show(&self, env: &mut Env, tenure: &Tenure, shown: &Datagrams) {
        let Some(hosted) = self.local.zones.get(&tenure.zone) else {
            return;
        };
        env.services.check_leased(tenure, "shows");
        let mut confirmed = None;
        for (session, bytes) in shown.iter() {
            if let Some(token) = hosted.egress.conn(session) {
                let header = SnapshotHeader::decode(&mut Reader::new(bytes));
                confirmed = confirmed.max(header.ok().map(|(header, _)| header.confirmed()));
                self.send_datagram(env, *token, bytes);
            }
        }
        if let Some(confirmed) = confirmed {
            env.services.note_released(tenure, confirmed);
        }
    }

    /// Sets the home of an account to the zone, unless it has one.
    fn set_home(&mut self, env: &mut Env, tenure: &Tenure, account: Account) {
        let home = Home::first(tenure.zone.clone());
        self.ask_store(
            env,
            (tenure, Kind::Home(account)),
            PipelineConfig::ANSWER_MAX,
            move |services| {
                let set = services.store.set_home(account, None, &home);
                StoreAnswer::Done(services.confirmed(set).map(drop))
            },
        );
    }

    /// Keeps the record of a character at rest.
    fn keep_rest(&mut self, env: &mut Env, tenure: &Tenure, rest: ArchivedRest) {
        let home = Home {
            zone: tenure.zone.clone(),
            generation: rest.generation,
        };
        self.ask_store(
            env,
            (tenure, Kind::Rest(rest.account)),
            PipelineConfig::ANSWER_MAX,
            move |services| {
                let kept = services.store.keep_rest(rest.account, &home, &rest.payload);
                let newer = kept.map(|home| home.map(|home| home.generation));
                StoreAnswer::RestKept(services.confirmed(newer))
            },
        );
    }
}
