//! A session's life on the connection that speaks for it: attach, snapshots and events, silence, loss, the end.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::SeqEvent;
use crate::ids::{Epoch, SessionId, ZoneName};
use crate::input::InputFrame;
use crate::limits::SECRET_BYTES;
use crate::message::{Attached, Credential, RefusalCode, ServerMessage};
use crate::snapshot::Snapshot;

use super::events::{EventPlace, Resumed};
use super::mirror::Mismatch;
use super::port::{Command, ConnId, Failover, Notice};
use super::search::{Cause, Lead};
use super::{Client, ms};

/// The slowest game time that a client paces itself by, 255ths: a server that says less is wrong, and would silence its
/// players.
const SPEED_MIN: u8 = 51;

/// The connection that speaks for the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) conn: ConnId,
    pub(super) addr: SocketAddr,
    /// The moment at which anything last came over it.
    pub(super) heard_at: Duration,
    /// Whether its silence was noticed.
    pub(super) silent: bool,
    /// The moment at which the next input frame is due.
    pub(super) frame_at: Duration,
    /// The last frame sent over it.
    pub(super) last_frame: Option<LastSentFrame>,
}

/// The last input frame that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSentFrame {
    /// Its last intent, 0 for none.
    last_seq: u64,
    /// Frames left out since because nothing was to be said.
    rested: u32,
}

/// A session that can be resumed.
#[derive(Clone, Debug)]
pub(super) struct ResumableSession {
    pub(super) zone: ZoneName,
    pub(super) session: SessionId,
    pub(super) secret: [u8; SECRET_BYTES],
    /// Whether this machine was ever attached to it. If it was made with a saved secret, it was not yet.
    pub(super) attached: bool,
    /// The moment at which the last snapshot of the last owner was applied.
    pub(super) last_snapshot_at: Duration,
}

impl ResumableSession {
    /// Returns a session known by its secret alone.
    pub(super) const fn saved(zone: ZoneName, session: SessionId, secret: [u8; SECRET_BYTES]) -> Self {
        Self {
            zone,
            session,
            secret,
            attached: false,
            last_snapshot_at: Duration::ZERO,
        }
    }
}

impl Client {
    /// Takes a control message on the active connection or a candidate.
    pub(super) fn take_control(&mut self, now: Duration, conn: ConnId, message: ServerMessage) {
        let active = self.is_active(conn);
        match message {
            ServerMessage::Attached(attached) => self.take_attached(now, conn, attached),
            // The shard does not serve the session, and so has stored no log-out, whatever code it closes with.
            ServerMessage::Redirect { .. } if active && self.leave_at.is_some() => self.end_unheard(),
            ServerMessage::Redirect { addr, zone, epoch } if active => {
                let lead = Lead { addr, zone, epoch };
                if self.leads_on(&lead) {
                    self.search(now, Cause::Redirect);
                    self.follow(now, None, lead);
                    self.advance_search(now);
                }
            }
            ServerMessage::Redirect { addr, zone, epoch } => {
                self.follow(now, Some(conn), Lead { addr, zone, epoch });
                self.advance_search(now);
            }
            // On the active connection it is a sign of life and no more.
            ServerMessage::Wait => self.wait(now, conn),
            // A session that is attached has its place.
            ServerMessage::Queued { .. } if active => {}
            ServerMessage::Queued { position } => {
                self.wait(now, conn);
                self.notices.push_back(Notice::Queued { position });
            }
            ServerMessage::Superseded => {
                self.refused(now, conn, RefusalCode::Superseded, String::new());
            }
            ServerMessage::Event(event) if active => self.take_event(event),
            // An event before `Attached` has no place in the sequence.
            ServerMessage::Event(_) => {}
            ServerMessage::Refused { code, detail } => self.refused(now, conn, code, detail),
            ServerMessage::Peers(peers) if active => self.peers = peers,
            // Only the owner knows which shards its players may ask.
            ServerMessage::Peers(_) => {}
        }
    }

    fn take_attached(&mut self, now: Duration, conn: ConnId, attached: Attached) {
        let other_session = self
            .standing
            .as_ref()
            .is_some_and(|standing| standing.session != attached.session);
        if attached.epoch < self.epochs.of(&attached.zone) || other_session || self.leave_at.is_some() {
            // A zombie, or a faulty server: another shard may know better.
            if self.is_candidate(conn) {
                self.drop_candidate(now, conn);
                self.candidate_failed(now, conn, "attached by an owner that is not the session's");
            }
            return;
        }
        let failover = self.failover(now, &attached.zone, attached.epoch);
        let early = self.make_active(now, conn);
        self.tell_attached(&attached, failover);
        let known = self.standing.is_some();
        self.epochs.note(&attached.zone, attached.epoch);
        self.speed = u8::MAX;
        self.fill_mirror(&attached, known);
        let Attached {
            zone,
            session,
            secret,
            last_input_seq,
            peers,
            ..
        } = attached;
        self.standing = Some(ResumableSession {
            zone,
            session,
            secret,
            attached: true,
            last_snapshot_at: now,
        });
        self.peers = peers;
        self.confirm(last_input_seq);
        self.pending.count_from(last_input_seq);
        self.mirror.last_confirmed = last_input_seq;
        for early in early {
            self.take_datagram(now, &early);
        }
    }

    /// Compares the owner's `Attached` with what was known before, and gives the notices.
    fn tell_attached(&mut self, attached: &Attached, failover: Option<Failover>) {
        let resumed = self.standing.as_ref().is_some_and(|standing| standing.attached);
        let confirmed = if resumed { self.mirror.last_confirmed } else { 0 };
        // The same owner's ticks are in order whatever connection they come over.
        let shown_ahead = if failover.is_some() {
            self.mirror.ticks_ahead_of(attached.resumed_tick)
        } else {
            0
        };
        self.notices.push_back(Notice::Attached {
            epoch: attached.epoch,
            zone: attached.zone.clone(),
            session: attached.session,
            tick_hz: attached.tick_hz,
            resumed_tick: attached.resumed_tick,
            last_input_seq: attached.last_input_seq,
            lost_inputs: confirmed.saturating_sub(attached.last_input_seq),
            rewound_ticks: attached.rewound_ticks.max(shown_ahead),
            own: attached.own.clone(),
            failover,
        });
    }

    /// Returns the failover that the coming attach completes, if its epoch rose over that of an earlier attach to the
    /// same zone.
    fn failover(&self, now: Duration, zone: &ZoneName, to_epoch: Epoch) -> Option<Failover> {
        let same_zone = |standing: &&ResumableSession| standing.attached && standing.zone == *zone;
        let standing = self.standing.as_ref().filter(same_zone)?;
        let from_epoch = self.mirror.epoch;
        (to_epoch > from_epoch).then(|| Failover {
            from_epoch,
            to_epoch,
            last_snapshot_at: standing.last_snapshot_at,
            silent_at: self.search.as_ref().map_or(now, |search| search.began_at),
            attached_at: now,
        })
    }

    /// Lets this connection, and no other, speak for the session from now on. Returns the datagrams that it had early.
    fn make_active(&mut self, now: Duration, conn: ConnId) -> Vec<Vec<u8>> {
        let (addr, early) = match (self.take_candidate(conn), self.active) {
            (Some(candidate), earlier) => {
                if let Some(earlier) = earlier {
                    self.close(earlier.conn, RefusalCode::Bye);
                }
                (candidate.addr, candidate.early)
            }
            (None, Some(active)) => (active.addr, Vec::new()),
            (None, None) => return Vec::new(),
        };
        self.end_search(now);
        self.active = Some(Active {
            conn,
            addr,
            heard_at: now,
            silent: false,
            frame_at: now,
            last_frame: None,
        });
        early
    }

    fn fill_mirror(&mut self, attached: &Attached, known: bool) {
        if !known {
            self.mirror.log_in(attached);
            return;
        }
        let got = attached.event_seq.saturating_add(1);
        let (resumed, mismatch) = self.mirror.resume(attached);
        match resumed {
            Resumed::InOrder => {}
            Resumed::Lost { expected } => self.notices.push_back(Notice::EventGap { expected, got }),
            Resumed::Forgotten { from, to } => self.notices.push_back(Notice::EventsForgotten { from, to }),
        }
        self.tell_mismatch(mismatch);
    }

    /// Takes a datagram of the active connection.
    pub(super) fn take_datagram(&mut self, now: Duration, bytes: &[u8]) {
        let Ok(snapshot) = Snapshot::decode(bytes) else {
            self.malformed_datagrams += 1;
            return;
        };
        let current = snapshot.header.epoch == self.mirror.epoch;
        if current
            && self
                .search
                .as_ref()
                .is_some_and(|search| search.cause == Cause::Silence)
        {
            self.end_search(now);
        }
        let Some((header, mismatch)) = self.mirror.show(&snapshot) else {
            return;
        };
        if let Some(standing) = &mut self.standing {
            standing.last_snapshot_at = now;
        }
        self.speed = header.dilation.max(SPEED_MIN);
        self.notices.push_back(Notice::Snapshot {
            header,
            entities: self.mirror.entities_len(),
        });
        self.tell_mismatch(mismatch);
        let confirmed = self
            .pending
            .handle_shown(header.tick, header.confirmed(), header.last_input_seq);
        if let Some(confirmed) = confirmed {
            self.confirm(confirmed);
        }
    }

    /// Confirms all inputs up to this one.
    fn confirm(&mut self, confirmed_seq: u64) {
        while let Some(seq) = self.pending.confirm_next(confirmed_seq) {
            self.mirror.last_confirmed = seq;
            self.notices.push_back(Notice::Confirmed { seq });
        }
    }

    fn take_event(&mut self, event: SeqEvent) {
        let outcome = self.mirror.hear(&event);
        let seq = event.seq;
        match outcome.place {
            EventPlace::New => self.notices.push_back(Notice::Event(event)),
            EventPlace::AfterGap { expected } => {
                self.notices.push_back(Notice::EventGap { expected, got: seq });
                self.notices.push_back(Notice::Event(event));
            }
            EventPlace::Again {
                same: true,
                excused: true,
            } => {}
            EventPlace::Again { same, .. } => self.notices.push_back(Notice::EventRepeated { seq, same }),
        }
        self.tell_mismatch(outcome.mismatch);
    }

    fn tell_mismatch(&mut self, mismatch: Option<Mismatch>) {
        if let Some(Mismatch { tick, event_seq }) = mismatch {
            self.notices.push_back(Notice::ValueMismatch { tick, event_seq });
        }
    }

    /// Handles a server's refusal, by message or by close code.
    pub(super) fn refused(&mut self, now: Duration, conn: ConnId, code: RefusalCode, detail: String) {
        if self.is_active(conn) && self.leave_at.is_some() {
            self.end_unheard();
            return;
        }
        if code == RefusalCode::Superseded && self.has_rival_of(now, conn) {
            self.rival_until = None;
        } else if code.is_final() {
            self.notices.push_back(match code {
                RefusalCode::Superseded => Notice::Superseded,
                code => Notice::Refused { code, detail },
            });
            self.end();
            return;
        } else if code != RefusalCode::Bye {
            self.notices.push_back(Notice::Refused { code, detail });
        }
        if code == RefusalCode::Overloaded {
            self.stay_away();
        }
        self.close(conn, RefusalCode::Bye);
        self.lost(now, conn, &code.to_string());
    }

    /// Handles the end of a connection.
    pub(super) fn lost(&mut self, now: Duration, conn: ConnId, detail: &str) {
        if self.is_candidate(conn) {
            self.candidate_failed(now, conn, detail);
            return;
        }
        let Some(active) = self.active.take_if(|active| active.conn == conn) else {
            return;
        };
        self.notices.push_back(Notice::Disconnected {
            detail: detail.to_owned(),
        });
        if self.leave_at.is_some() {
            self.end_unheard();
            return;
        }
        self.search_after_loss(now, active.addr);
    }

    /// Handles an active connection that has been silent for too long.
    pub(super) fn fall_silent(&mut self, now: Duration) {
        let Some(active) = &mut self.active else { return };
        active.silent = true;
        self.notices.push_back(Notice::Silent);
        if self.search.is_none() {
            self.search_after_silence(now);
        }
        self.advance_search(now);
    }

    /// Sends the frame that is due, if there is anything to say.
    pub(super) fn take_turn(&mut self, now: Duration) {
        let period = self.in_game_time(ms(self.config.frame_ms.max(1)));
        let last_seq = self.pending.frame_end();
        let again_frames = match last_seq {
            0 => self.config.rest_frames,
            _ => self.config.repeat_frames.min(self.config.rest_frames),
        };
        let Some(active) = &mut self.active else { return };
        // In step, unless the driver came too late: frames that were not sent in time are not made up for.
        active.frame_at += period;
        if active.frame_at <= now {
            active.frame_at = now + period;
        }
        if let Some(last_frame) = &mut active.last_frame
            && last_seq <= last_frame.last_seq
            && last_frame.rested + 1 < again_frames
        {
            last_frame.rested += 1;
            return;
        }
        active.last_frame = Some(LastSentFrame { last_seq, rested: 0 });
        let conn = active.conn;
        self.send_frame(conn);
    }

    /// Sends the intents that the owner does not have, and the acknowledgements.
    fn send_frame(&mut self, conn: ConnId) {
        let frame = InputFrame {
            epoch: self.mirror.epoch,
            snapshot_tick: self.mirror.tick,
            event_ack: self.mirror.event_ack(),
            intents: self.pending.frame(),
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.commands.push_back(Command::SendDatagram { conn, bytes });
    }

    /// Returns the next `Hello`'s credential: the session, in the zone that a redirect named, else in its last one.
    pub(super) fn hello_credential(&self, led_to: Option<&ZoneName>) -> Credential {
        let Some(standing) = &self.standing else {
            return self.credential.clone();
        };
        let zone = led_to.unwrap_or(&standing.zone);
        Credential::Resume {
            zone: zone.clone(),
            session: standing.session,
            secret: standing.secret,
            epoch: self.epochs.of(zone),
            event_seq: self.mirror.event_ack(),
        }
    }

    pub(super) fn is_active(&self, conn: ConnId) -> bool {
        self.active.as_ref().is_some_and(|active| active.conn == conn)
    }
}
