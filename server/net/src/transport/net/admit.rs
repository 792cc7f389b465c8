//! Packets on their way in: to the connection they are for, to the thread that owns it, or to the door.

use std::time::Instant;

use everhold_protocol::RefusalCode;
use quinn_proto::{ConnectionHandle, DatagramEvent, EndpointEvent, Incoming};

use super::link::{Link, LinkStatus};
use super::{NetThread, transmit};
use crate::transport::mailbox::{LinkKey, Packet};
use crate::transport::shared::{AttemptAnswer, Slots};

impl NetThread {
    pub(super) fn take_packet(&mut self, now: Instant, packet: Packet) {
        if let Some(owner) = self.other_owner(&packet) {
            return self.mailboxes[owner].forward(packet);
        }
        let Packet {
            remote,
            local_ip,
            ecn,
            bytes,
            ..
        } = packet;
        self.outgoing.clear();
        let event = self
            .endpoint
            .handle(now, remote, local_ip, ecn, bytes, &mut self.outgoing);
        match event {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let Some(link) = self.links.at_mut(handle) else { return };
                let key = link.key;
                let is_within_rate = self.with_link(key, now, Link::rate_packet).unwrap_or(false);
                let Some(link) = self.links.get_mut(key).filter(|_| is_within_rate) else {
                    return self.after(key);
                };
                link.connection.handle_event(event);
                link.note_remote(remote);
                let status = self.with_link(key, now, Link::drive);
                if status == Some(LinkStatus::Drained) {
                    return self.remove(key);
                }
                self.after_packet(now, key);
            }
            Some(DatagramEvent::Response(transmit)) => self.wire.send(&transmit, &self.outgoing),
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(now, incoming),
        }
    }

    fn after_packet(&mut self, now: Instant, key: LinkKey) {
        self.links.note_received(key, now);
        if self.links.get_mut(key).is_some_and(|link| link.is_hasty(now)) {
            self.hurry(key);
        }
        self.after(key);
    }

    /// Returns the thread, if it is another one, whose connection a packet is for. A packet that was forwarded is never
    /// forwarded again.
    fn other_owner(&self, packet: &Packet) -> Option<usize> {
        if self.mailboxes.len() == 1 || packet.is_forwarded {
            return None;
        }
        let owner = usize::from(self.ids.owner(&packet.bytes)?);
        (owner != usize::from(self.index) && owner < self.mailboxes.len()).then_some(owner)
    }

    /// Decides on a connection attempt, and accepts or refuses it.
    fn admit(&mut self, now: Instant, incoming: Incoming) {
        if self.stopping.is_some() {
            return self.refuse(incoming);
        }
        let ip = incoming.remote_address().ip();
        match self.shared.answer(ip, incoming.remote_address_validated()) {
            AttemptAnswer::Refuse => self.refuse(incoming),
            AttemptAnswer::Retry => {
                self.outgoing.clear();
                match self.endpoint.retry(incoming, &mut self.outgoing) {
                    Ok(transmit) => self.wire.send(&transmit, &self.outgoing),
                    // It can fail only for an address that is validated, and then nobody asked for a retry.
                    Err(error) => self.refuse(error.into_incoming()),
                }
            }
            AttemptAnswer::Accept(slots, turn_away) => self.accept(now, incoming, slots, turn_away),
            // The others may all be with other threads.
            AttemptAnswer::Replace(slots) => match self.half_open.victim(ip) {
                Some(victim) => {
                    self.shared.counters.half_open_replaced.bump();
                    self.replace(victim, now);
                    self.accept(now, incoming, slots, None);
                }
                None => {
                    drop(slots);
                    self.shared.counters.attempts_refused.bump();
                    self.refuse(incoming);
                }
            },
        }
    }

    fn accept(&mut self, now: Instant, incoming: Incoming, slots: Slots, turn_away: Option<RefusalCode>) {
        let (ip, is_validated) = (incoming.remote_address().ip(), incoming.remote_address_validated());
        self.outgoing.clear();
        match self.endpoint.accept(incoming, now, &mut self.outgoing, None) {
            Ok((handle, connection)) => {
                let key = self.links.next_key(handle);
                self.half_open.insert(key, ip, is_validated);
                self.links
                    .insert(Link::new(key, connection, slots, turn_away, now, &self.shared));
                self.hurry(key);
            }
            Err(error) => {
                self.shared.counters.handshakes_failed.bump();
                tracing::debug!(error = %error.cause, "a connection attempt cannot be accepted");
                if let Some(transmit) = error.response {
                    self.wire.send(&transmit, &self.outgoing);
                }
            }
        }
    }

    fn refuse(&mut self, incoming: Incoming) {
        self.outgoing.clear();
        let transmit = self.endpoint.refuse(incoming, &mut self.outgoing);
        self.wire.send(&transmit, &self.outgoing);
    }

    /// Closes a stranger's connection in favour of a newer one.
    fn replace(&mut self, key: LinkKey, now: Instant) {
        self.with_link(key, now, |link, context| link.shut(RefusalCode::Full, context));
        if let Some(link) = self.links.get_mut(key) {
            transmit(link, now, &mut self.wire, &mut self.outgoing);
        }
        self.forget(key);
    }

    /// Forgets a stranger's connection without the time for which QUIC keeps one for late packets: those who had to go
    /// would soon be more than those who are here. To a late packet the endpoint answers that it knows no such
    /// connection.
    fn forget(&mut self, key: LinkKey) {
        let handle = ConnectionHandle(key.slot as usize);
        let _nothing_more = self.endpoint.handle_event(handle, EndpointEvent::drained());
        self.remove(key);
    }
}
