//! The machine under any messages in any order: no panic, and its invariants hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use everhold_protocol::client::{Client, ClientConfig, Command, ConnId, Notice};
use everhold_protocol::limits::REFRESH_TICKS;
use everhold_protocol::{
    ClientMessage, Credential, Epoch, Heading, InputFrame, Intent, RefusalCode, ServerMessage, Snapshot,
    SnapshotHeader, Tick, ZoneName,
};
use proptest::prelude::*;

use super::super::strategy;
use super::script::{Attach, addr, gold, header, redirect_to, refused};

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Push,
    Connected(usize),
    Disconnected(usize, Option<u64>),
    Control(usize, ServerMessage),
    Show(usize, Snapshot),
    Garbage(usize, Vec<u8>),
}

/// The size of the numbers that a server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Usual,
    /// Some are the largest of their type.
    Extreme,
}

impl Numbers {
    fn of_u32(self, usual: Range<u32>) -> BoxedStrategy<u32> {
        match self {
            Self::Usual => usual.boxed(),
            Self::Extreme => prop_oneof![4 => usual, 1 => u32::MAX - 3..=u32::MAX].boxed(),
        }
    }

    fn of_u64(self, usual: Range<u64>) -> BoxedStrategy<u64> {
        match self {
            Self::Usual => usual.boxed(),
            Self::Extreme => prop_oneof![4 => usual, 1 => u64::MAX - 3..=u64::MAX].boxed(),
        }
    }

    fn tick(self) -> BoxedStrategy<Tick> {
        match self {
            Self::Usual => (0..400_u64).prop_map(Tick).boxed(),
            Self::Extreme => prop_oneof![3 => 0..400_u64, 1 => u64::MAX - 2 * REFRESH_TICKS..=u64::MAX]
                .prop_map(Tick)
                .boxed(),
        }
    }

    fn snapshot(self) -> BoxedStrategy<Snapshot> {
        let unconfirmed = prop_oneof![Just(0), 0..60_u16, Just(u16::MAX)];
        let numbers = (self.of_u32(1..5), self.tick(), unconfirmed, self.of_u64(0..9));
        let header = numbers.prop_map(|(epoch, tick, unconfirmed_ticks, last_input_seq)| SnapshotHeader {
            unconfirmed_ticks,
            last_input_seq,
            ..header(epoch, tick)
        });
        match self {
            Self::Usual => header
                .prop_map(|header| Snapshot {
                    header,
                    id_range: 0,
                    updates: Vec::new(),
                })
                .boxed(),
            Self::Extreme => (header, strategy::snapshot())
                .prop_map(|(header, mut snapshot)| {
                    let SnapshotHeader { x, y, .. } = snapshot.header;
                    snapshot.header = SnapshotHeader { x, y, ..header };
                    snapshot
                })
                .boxed(),
        }
    }
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["meadow", "meadow", "forest"])
}

fn control(numbers: Numbers) -> impl Strategy<Value = ServerMessage> {
    let (seq, event_seq) = (numbers.of_u64(0..9), numbers.of_u64(0..9));
    let attach = (zone(), numbers.of_u32(1..5), numbers.tick(), seq, event_seq).prop_map(
        |(zone, epoch, tick, last_input_seq, event_seq)| {
            Attach {
                zone,
                tick,
                last_input_seq,
                event_seq,
                events_forgotten: event_seq / 2,
                ..Attach::epoch(epoch)
            }
            .message()
        },
    );
    // Rarely an end: a machine that has ended shows nothing more.
    let codes = prop::sample::select(vec![
        RefusalCode::Full,
        RefusalCode::Stopping,
        RefusalCode::Internal,
        RefusalCode::Bye,
        RefusalCode::Overloaded,
    ]);
    prop_oneof![
        6 => attach,
        3 => (zone(), 1..5_u16, numbers.of_u32(1..5)).prop_map(|(zone, n, epoch)| redirect_to(zone, n, epoch)),
        1 => Just(ServerMessage::Wait),
        1 => numbers.of_u32(1..9).prop_map(|position| ServerMessage::Queued { position }),
        4 => (numbers.of_u64(0..9), 50..52_u64).prop_map(|(seq, total)| ServerMessage::Event(gold(seq, total))),
        1 => codes.prop_map(refused),
        1 => prop::sample::select(vec![ServerMessage::Superseded, refused(RefusalCode::SessionUnknown)]),
    ]
}

fn op(numbers: Numbers) -> impl Strategy<Value = Op> {
    let conn = 0..4_usize;
    prop_oneof![
        4 => (0..400_u64).prop_map(Op::Pass),
        3 => Just(Op::Push),
        4 => conn.clone().prop_map(Op::Connected),
        2 => (conn.clone(), prop::option::of(0..17_u64))
            .prop_map(|(conn, code)| Op::Disconnected(conn, code.filter(|&code| code > 9))),
        6 => (conn.clone(), control(numbers)).prop_map(|(conn, message)| Op::Control(conn, message)),
        4 => (conn.clone(), numbers.snapshot()).prop_map(|(conn, snapshot)| Op::Show(conn, snapshot)),
        1 => (conn, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(conn, bytes)| Op::Garbage(conn, bytes)),
    ]
}

/// Watches the machine's notices and commands for what must never occur.
struct Watch {
    client: Client,
    now: Duration,
    open: Vec<ConnId>,
    ever: BTreeSet<ConnId>,
    epoch: Epoch,
    /// The highest epoch that attached it in each zone.
    epochs: BTreeMap<ZoneName, Epoch>,
    last_event: u64,
    pushed: u32,
    confirmed: u32,
    last_confirmed: u64,
}

impl Watch {
    fn new(seed: u64) -> Self {
        let addrs = vec![addr(1), addr(2), addr(3)];
        let mut client = Client::new(ClientConfig::default(), Credential::Ticket(vec![1]), addrs, seed);
        client.handle_start(Duration::ZERO);
        let (open, ever, epochs) = Default::default();
        Self {
            client,
            now: Duration::ZERO,
            open,
            ever,
            epoch: Epoch::NONE,
            epochs,
            last_event: 0,
            pushed: 0,
            confirmed: 0,
            last_confirmed: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        let conn = |at: usize| {
            self.open
                .get(at % self.open.len().max(1))
                .copied()
                .unwrap_or(ConnId(99))
        };
        match op {
            Op::Pass(ms) => self.pass(ms),
            Op::Push => {
                let pushed = self.client.push_intent(self.now, Intent::Move(Heading::STILL));
                self.pushed += u32::from(pushed.is_ok());
            }
            Op::Connected(at) => self.client.handle_connected(self.now, conn(at)),
            Op::Disconnected(at, code) => {
                let conn = conn(at);
                self.open.retain(|&open| open != conn);
                self.client.handle_disconnected(self.now, conn, code, "gone");
            }
            Op::Control(at, message) => self.client.handle_control(self.now, conn(at), message),
            Op::Show(at, snapshot) => {
                let mut bytes = Vec::new();
                snapshot.encode(&mut bytes);
                self.client.handle_datagram(self.now, conn(at), &bytes);
            }
            Op::Garbage(at, bytes) => self.client.handle_datagram(self.now, conn(at), &bytes),
        }
        self.check();
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(at) = self.client.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            assert!(
                self.client.poll_timeout().is_none_or(|next| next > self.now),
                "a timer is due again at once"
            );
            self.check();
        }
        self.now = until;
    }

    fn check(&mut self) {
        while let Some(command) = self.client.poll_command() {
            self.check_command(command);
        }
        while let Some(notice) = self.client.poll_notice() {
            self.check_notice(&notice);
        }
        let mirror = self.client.mirror();
        assert!(mirror.entities().count() <= mirror.entities_len());
        assert!(self.open.len() <= 3, "{} connections at once", self.open.len());
        assert!(
            self.client.is_finished() || !self.open.is_empty() || self.client.poll_timeout().is_some(),
            "stuck"
        );
        assert!(!self.client.is_finished() || (self.open.is_empty() && self.client.poll_timeout().is_none()));
    }

    fn check_command(&mut self, command: Command) {
        match command {
            Command::Connect { conn, .. } => {
                assert!(self.ever.insert(conn), "{conn:?} is used twice");
                self.open.push(conn);
            }
            Command::Close { conn, .. } => self.open.retain(|&open| open != conn),
            Command::SendControl { conn, message } => {
                assert!(self.open.contains(&conn));
                if let ClientMessage::Hello {
                    credential: Credential::Resume { zone, epoch, .. },
                    ..
                } = message
                {
                    assert_eq!(epoch, self.epochs.get(&zone).copied().unwrap_or(Epoch::NONE));
                }
            }
            Command::SendDatagram { conn, bytes } => {
                assert!(self.open.contains(&conn));
                assert_eq!(InputFrame::decode(&bytes).unwrap().epoch, self.epoch);
            }
        }
    }

    fn check_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Attached {
                zone,
                epoch,
                last_input_seq,
                ..
            } => {
                let highest = self.epochs.entry(zone.clone()).or_default();
                assert!(*epoch >= *highest, "the zone's epoch fell");
                (*highest, self.epoch) = (*epoch, *epoch);
                self.last_confirmed = self.last_confirmed.min(*last_input_seq);
            }
            Notice::Snapshot { header, .. } => assert_eq!(header.epoch, self.epoch),
            Notice::Confirmed { seq } => {
                assert!(*seq > self.last_confirmed, "{seq} after {}", self.last_confirmed);
                (self.last_confirmed, self.confirmed) = (*seq, self.confirmed + 1);
                assert!(self.confirmed <= self.pushed, "an input was confirmed twice");
            }
            // The next event is the first of a new count.
            Notice::EventGap { .. } | Notice::EventsForgotten { .. } => self.last_event = 0,
            Notice::Event(event) => {
                assert!(
                    self.last_event.checked_add(1) == Some(event.seq) || self.last_event == 0,
                    "{} after {}",
                    event.seq,
                    self.last_event
                );
                self.last_event = event.seq;
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(strategy::cases(2_000))]

    #[test]
    fn nothing_that_comes_breaks_the_machine(seed: u64, ops in prop::collection::vec(op(Numbers::Usual), 0..120)) {
        let mut watch = Watch::new(seed);
        for op in ops {
            watch.apply(op);
        }
    }
}

proptest! {
    #![proptest_config(strategy::cases(500))]

    #[test]
    fn numbers_at_their_ends_do_not_break_the_machine(
        seed: u64,
        ops in prop::collection::vec(op(Numbers::Extreme), 0..60),
    ) {
        let mut watch = Watch::new(seed);
        for op in ops {
            watch.apply(op);
        }
    }
}
