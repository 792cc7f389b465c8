//! One simulated player: a decider, a client machine, its connections, and what it has been shown. It owns no socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everhold_protocol::client::{Client, ClientConfig, Command, ConnId, Notice};
use everhold_protocol::message::Credential;
use everhold_protocol::{Account, Epoch, ServerMessage, SnapshotHeader, Tick};

use super::stay::Stay;
use super::tally::{Crossing, Tally};
use super::unconfirmed::Unconfirmed;
use crate::behavior::Decider;
use crate::checker::{Attachment, Checker};
use crate::net::{LinkId, Net, NetError, NetEvent, Owner};
use crate::report::PlayerStay;

/// State that all players share while one of them acts.
pub(super) struct SwarmContext<'a> {
    pub(super) net: &'a mut Net,
    pub(super) checker: &'a mut Checker,
    pub(super) tally: &'a mut Tally,
    /// The run's zero.
    pub(super) origin: Instant,
    pub(super) now: Instant,
}

impl SwarmContext<'_> {
    fn since(&self) -> Duration {
        self.now.saturating_duration_since(self.origin)
    }
}

/// The stage of a player's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// On its way in.
    Joining,
    /// In the world, or on its way back into it.
    Playing,
    /// Out of the world by its own wish.
    Left,
    /// Out of the world against its wish.
    Ended,
}

/// A player.
pub(super) struct SwarmPlayer {
    index: u32,
    client: Client,
    decider: Decider,
    links: Vec<(ConnId, LinkId)>,
    unconfirmed: Unconfirmed,
    /// Game time since its last decision, 255ths of a tick.
    ripe: u16,
    life: Life,
    leaving: bool,
    zone: usize,
    epoch_shown: Epoch,
    /// Every epoch under which it was shown something, rising.
    epochs: Vec<Epoch>,
    last_shown_at: Duration,
    last_header: Option<SnapshotHeader>,
    /// Between the attach to a new owner and its first snapshot.
    attached_at: Option<Duration>,
    silent_at: Option<Duration>,
    heard_at: Duration,
    /// The time at which it last acted: what waited meanwhile does not take it back.
    acted_at: Option<Instant>,
    /// Whether its one connection waits for its frames.
    patient: bool,
    /// Whether something is to be sent, or acknowledged soon.
    has_to_send: bool,
    last_pushed: u64,
    /// Epoch and tick of the snapshot that covered the last intent, and had it confirmed.
    covered_at: Option<(Epoch, Tick)>,
    event_seq_told: u64,
    stay: Stay,
    last_trouble: String,
}

impl SwarmPlayer {
    pub(super) fn new(index: u32, decider: Decider, client: Client) -> Self {
        Self {
            index,
            client,
            decider,
            links: Vec::new(),
            unconfirmed: Unconfirmed::default(),
            ripe: 0,
            life: Life::Joining,
            leaving: false,
            zone: 0,
            epoch_shown: Epoch::NONE,
            epochs: Vec::new(),
            last_shown_at: Duration::ZERO,
            last_header: None,
            attached_at: None,
            silent_at: None,
            heard_at: Duration::ZERO,
            acted_at: None,
            patient: false,
            has_to_send: false,
            last_pushed: 0,
            covered_at: None,
            event_seq_told: 0,
            stay: Stay::default(),
            last_trouble: "nobody has answered".to_owned(),
        }
    }

    /// A client machine of a player that tries `addrs` in turn.
    pub(super) fn machine(config: ClientConfig, ticket: Vec<u8>, addrs: Vec<SocketAddr>, seed: u64) -> Client {
        Client::new(config, Credential::Ticket(ticket), addrs, seed)
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn zone(&self) -> usize {
        self.zone
    }

    pub(super) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent_at.is_some()
    }

    pub(super) fn last_trouble(&self) -> &str {
        &self.last_trouble
    }

    /// Whether its client machine may have something to do before its next frame: it is not in touch with an owner.
    pub(super) fn is_restless(&self, now: Duration, silence: Duration) -> bool {
        match self.life {
            Life::Joining => true,
            Life::Playing => self.silent_at.is_some() || now.saturating_sub(self.heard_at) >= silence,
            Life::Left | Life::Ended => false,
        }
    }

    pub(super) fn start(&mut self, stage: &mut SwarmContext<'_>) -> Result<(), NetError> {
        self.heard_at = stage.since();
        self.client.handle_start(stage.since());
        self.pump(stage)
    }

    /// Runs its frame: decides, and sends what there is to send. `intended` is the frame's own time.
    pub(super) fn frame(
        &mut self,
        intended: Duration,
        plays: bool,
        stage: &mut SwarmContext<'_>,
    ) -> Result<(), NetError> {
        if plays && self.life == Life::Playing && self.client.is_attached() {
            self.play(intended, stage);
        }
        self.wake(stage)?;
        self.settle_down(stage);
        // Snapshots are acknowledged with what the player says next: its server does nothing about one that is lost.
        if std::mem::take(&mut self.has_to_send) || !self.patient {
            for (_, link) in &self.links {
                stage.net.transmit(stage.now, *link);
            }
        }
        Ok(())
    }

    /// Takes in what has waited for its connections; it comes to [`SwarmPlayer::on_net`].
    pub(super) fn take_in(&self, net: &mut Net) {
        if self.patient {
            for (_, link) in &self.links {
                net.take_in(*link);
            }
        }
    }

    /// A player that hears its owner over its only connection hears it once a frame; any other one hears everything at
    /// once.
    fn settle_down(&mut self, stage: &mut SwarmContext<'_>) {
        let in_touch = self.client.is_attached() && self.silent_at.is_none() && !self.leaving;
        let patient = in_touch && self.life == Life::Playing && self.links.len() == 1;
        if std::mem::replace(&mut self.patient, patient) != patient {
            for (_, link) in &self.links {
                stage.net.set_patient(*link, patient);
            }
        }
    }

    /// Lets the client machine act if its time has come.
    pub(super) fn wake(&mut self, stage: &mut SwarmContext<'_>) -> Result<(), NetError> {
        self.advance(stage);
        let now = stage.since();
        if self.client.poll_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now);
            self.pump(stage)?;
        }
        Ok(())
    }

    /// It has heard everything that it ever will.
    pub(super) fn on_settled(&mut self) {
        self.stay.on_settled();
    }

    /// Returns its stay, if it got in.
    pub(super) fn stay(&self, account: Account) -> Option<PlayerStay> {
        self.stay.report(account, &self.client.mirror().own)
    }

    /// Datagrams from its owner that no client can read.
    pub(super) fn malformed_datagrams(&self) -> u64 {
        self.client.malformed_datagrams()
    }

    pub(super) fn leave(&mut self, stage: &mut SwarmContext<'_>) -> Result<(), NetError> {
        self.leaving = true;
        self.client.logout(stage.since());
        self.pump(stage)
    }

    /// Handles an event of one of its connections.
    pub(super) fn on_net(
        &mut self,
        owner: Owner,
        event: NetEvent,
        stage: &mut SwarmContext<'_>,
    ) -> Result<(), NetError> {
        self.advance(stage);
        let (now, conn) = (stage.since(), ConnId(owner.conn));
        match event {
            NetEvent::Connected => self.client.handle_connected(now, conn),
            NetEvent::Control(message) => {
                self.heard_at = now;
                // What must arrive is sent again unless it is acknowledged soon.
                self.has_to_send = true;
                if let ServerMessage::Attached(attached) = &*message {
                    self.event_seq_told = attached.event_seq;
                }
                self.client.handle_control(now, conn, *message);
            }
            NetEvent::Datagram(bytes) => {
                self.heard_at = now;
                self.client.handle_datagram(now, conn, &bytes);
            }
            NetEvent::Disconnected { code, detail } => {
                self.links.retain(|(other, _)| *other != conn);
                self.client.handle_disconnected(now, conn, code, &detail);
            }
        }
        self.pump(stage)
    }

    /// Returns why it is not settled yet, or `None`: all its intents are covered, it has seen `horizon`, and all events
    /// up to its last snapshot are in.
    pub(super) fn unsettled(&self, horizon: Option<(Epoch, Tick)>) -> Option<&'static str> {
        let Some(header) = self.last_header else {
            return Some("has seen nothing");
        };
        if self.life != Life::Playing || !self.client.is_attached() {
            return Some("is not attached");
        }
        if header.last_input_seq.min(self.confirmed_seq()) < self.last_pushed {
            return Some("has unconfirmed intents");
        }
        if horizon.is_some_and(|horizon| (header.epoch, header.tick) < horizon) {
            return Some("has not seen the tick of the zone's last intent");
        }
        if header.event_seq != self.client.mirror().event_seq {
            return Some("waits for events");
        }
        None
    }

    /// The last of its intents that no failover takes back.
    fn confirmed_seq(&self) -> u64 {
        self.client.mirror().last_confirmed
    }

    /// Whether all its intents are covered; then, by which snapshot.
    pub(super) fn covered(&self) -> Option<Option<(Epoch, Tick)>> {
        let done = self
            .last_header
            .is_some_and(|header| header.last_input_seq.min(self.confirmed_seq()) >= self.last_pushed);
        done.then_some(self.covered_at)
    }

    /// Moves its time on, never back.
    fn advance(&mut self, stage: &mut SwarmContext<'_>) {
        stage.now = self.acted_at.map_or(stage.now, |at| at.max(stage.now));
        self.acted_at = Some(stage.now);
    }

    fn play(&mut self, intended: Duration, stage: &mut SwarmContext<'_>) {
        // One decision a tick, however slowly game time runs.
        self.ripe += u16::from(self.client.speed());
        if self.ripe < u16::from(u8::MAX) {
            return;
        }
        self.ripe -= u16::from(u8::MAX);
        let checker = &*stage.checker;
        let is_friend = |session| checker.has_joined(session);
        let Some(intent) = self.decider.decide(self.client.mirror(), &is_friend) else {
            return;
        };
        match self.client.push_intent(stage.since(), intent.clone()) {
            Ok(seq) => {
                stage.tally.intents += 1;
                stage.checker.on_asked(self.index as usize, seq, &intent);
                self.unconfirmed.push(seq, intended, self.epoch_shown);
                self.last_pushed = seq;
            }
            Err(_) => stage.tally.intents_refused += 1,
        }
    }

    fn pump(&mut self, stage: &mut SwarmContext<'_>) -> Result<(), NetError> {
        loop {
            let mut quiet = true;
            while let Some(command) = self.client.poll_command() {
                quiet = false;
                self.obey(command, stage)?;
            }
            while let Some(notice) = self.client.poll_notice() {
                quiet = false;
                self.on_notice(notice, stage);
            }
            if quiet {
                break;
            }
        }
        if self.client.is_finished() && !matches!(self.life, Life::Left | Life::Ended) {
            self.finish(stage);
        }
        Ok(())
    }

    fn finish(&mut self, stage: &mut SwarmContext<'_>) {
        self.life = if self.leaving { Life::Left } else { Life::Ended };
        if self.life == Life::Ended {
            stage
                .tally
                .errors
                .add(format!("player {} ended: {}", self.index, self.last_trouble));
        }
    }

    fn link(&self, conn: ConnId) -> Option<LinkId> {
        self.links
            .iter()
            .find(|(other, _)| *other == conn)
            .map(|(_, link)| *link)
    }

    fn obey(&mut self, command: Command, stage: &mut SwarmContext<'_>) -> Result<(), NetError> {
        match command {
            Command::Connect { conn, addr } => {
                let owner = Owner {
                    player: self.index,
                    conn: conn.0,
                };
                match stage.net.connect(stage.now, addr, owner) {
                    Ok(link) => self.links.push((conn, link)),
                    Err(error @ (NetError::Connect { .. } | NetError::Unreachable { .. })) => {
                        self.client
                            .handle_disconnected(stage.since(), conn, None, &error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
            Command::SendControl { conn, message } => {
                if let Some(link) = self.link(conn) {
                    stage.net.send_control(link, &message)?;
                }
            }
            Command::SendDatagram { conn, bytes } => {
                if let Some(link) = self.link(conn) {
                    self.has_to_send = true;
                    stage.net.send_datagram(link, Bytes::from(bytes));
                }
            }
            Command::Close { conn, code } => {
                if let Some(link) = self.link(conn) {
                    stage.net.close(stage.now, link, code);
                    self.links.retain(|(other, _)| *other != conn);
                }
            }
        }
        Ok(())
    }

    fn on_notice(&mut self, notice: Notice, stage: &mut SwarmContext<'_>) {
        let player = self.index as usize;
        match notice {
            Notice::Attached { .. } => self.on_attached(&notice, stage),
            Notice::Snapshot { header, entities } => {
                stage.tally.record_view(entities);
                self.on_snapshot(header, stage);
            }
            Notice::Event(event) => stage.checker.on_event(player, &event),
            Notice::EventGap { expected, got } => stage.checker.on_event_gap(player, expected, got),
            Notice::EventsForgotten { to, .. } => stage.checker.on_events_forgotten(player, to),
            Notice::EventRepeated { seq, same } => stage.checker.on_event_repeated(player, seq, same),
            Notice::ValueMismatch { event_seq, .. } => stage.checker.on_value_mismatch(player, event_seq),
            Notice::Confirmed { seq } => stage.checker.on_confirmed(player, seq),
            Notice::Silent => self.silent_at = Some(stage.since()),
            Notice::Parked { addr } => tracing::debug!(player, %addr, "parked"),
            Notice::Queued { position } => self.last_trouble = format!("waits in a queue, at position {position}"),
            // It leaves all the same; what is left of its session nobody of this run comes back for.
            Notice::LogoutUnheard => tracing::debug!(player, "a log-out was not heard"),
            Notice::Superseded => self.last_trouble = "a newer connection took the session over".to_owned(),
            Notice::Refused { code, detail } => self.last_trouble = format!("refused, {code:?}: {detail}"),
            Notice::Disconnected { detail } => {
                stage.tally.lost_connections += u64::from(self.life == Life::Playing && !self.leaving);
                self.last_trouble = format!("disconnected: {detail}");
            }
        }
    }

    fn on_attached(&mut self, notice: &Notice, stage: &mut SwarmContext<'_>) {
        let Notice::Attached {
            epoch,
            zone,
            session,
            last_input_seq,
            lost_inputs,
            rewound_ticks,
            own,
            failover,
            ..
        } = notice
        else {
            return;
        };
        // What still waits is numbered anew behind the last input that the owner knows; the checker counts the loss.
        self.last_pushed = self.last_pushed.saturating_sub(*lost_inputs);
        self.unconfirmed.renumber(*lost_inputs);
        self.life = Life::Playing;
        self.stay.on_attached(own);
        self.zone = stage.tally.zone(zone);
        self.attached_at = Some(stage.since());
        if let Some(failover) = failover {
            self.silent_at = Some(failover.silent_at);
        }
        let attachment = Attachment {
            session: *session,
            epoch: *epoch,
            event_seq: self.event_seq_told,
            last_input_seq: *last_input_seq,
            rewound_ticks: *rewound_ticks,
            own,
        };
        stage.checker.on_attached(self.index as usize, &attachment);
    }

    fn on_snapshot(&mut self, header: SnapshotHeader, stage: &mut SwarmContext<'_>) {
        let now = stage.since();
        stage.checker.on_snapshot(self.index as usize, &header);
        if header.epoch > self.epoch_shown {
            self.cross(header.epoch, now, stage);
        }
        for (intended, epoch) in self.unconfirmed.show(header.last_input_seq) {
            let latency = now.saturating_sub(intended);
            stage.tally.record_update(self.zone, latency, epoch == header.epoch);
        }
        let covered = header.last_input_seq.min(self.confirmed_seq());
        let each = |intended| stage.tally.record_confirmation(now.saturating_sub(intended));
        if self.unconfirmed.cover(covered, each) == Some(self.last_pushed) {
            self.covered_at = Some((header.epoch, header.tick));
        }
        self.last_shown_at = now;
        self.last_header = Some(header);
        self.silent_at = None;
        self.attached_at = None;
    }

    /// Handles the first snapshot under an epoch.
    fn cross(&mut self, epoch: Epoch, now: Duration, stage: &mut SwarmContext<'_>) {
        let from_epoch = std::mem::replace(&mut self.epoch_shown, epoch);
        self.epochs.push(epoch);
        if from_epoch > Epoch::NONE {
            stage.tally.record_crossing(Crossing {
                zone: self.zone,
                from_epoch,
                to_epoch: epoch,
                last_shown_at: self.last_shown_at,
                silent_at: self.silent_at,
                attached_at: self.attached_at.unwrap_or(now),
                first_shown_at: now,
            });
        }
    }
}
