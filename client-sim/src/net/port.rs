//! One server's address, seen through one UDP socket and the QUIC endpoint on it. It knows no connections' contents.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};

use super::link::{Inbox, Link, LinkContext, LinkStatus};
use super::wire::Wire;
use super::{LinkId, Traffic};

/// A packet shorter than this had room for more, so its connection has nothing more to send, bytes: half of the least
/// path MTU.
const ROOM_BYTES: usize = 600;

/// Packets that wait for the frame of their link's owner. One that gets so many between two frames takes them in at
/// once.
const WAITING_PACKETS_MAX: usize = 32;

/// Packets of a link that wait, each with the moment at which it came. They lie outside of the link, so that to queue
/// one does not bring the link's kilobytes into the cache; its owner's frame does that once for all of them.
#[derive(Default)]
struct WaitingPackets {
    patient: bool,
    packets: Vec<(Instant, ConnectionEvent)>,
}

/// A socket, its endpoint, and the links that use it, each at the index of its connection handle.
pub(super) struct Port {
    pub(super) wire: Wire,
    pub(super) endpoint: Endpoint,
    links: Vec<Option<Box<Link>>>,
    /// At the same index.
    waiting: Vec<WaitingPackets>,
    pub(super) live: usize,
}

/// The care that a link needs after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Its owner serves it.
    Owned,
    /// It has something to send that cannot wait for a frame.
    Urgent,
    /// It has no owner, and has to be served until it is gone.
    Orphan,
    /// It is gone.
    Gone,
}

impl Port {
    /// Opens a port that talks to `peer` and to no other server.
    pub(super) fn connect(peer: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        Ok(Self {
            wire: Wire::connect(peer)?,
            endpoint,
            links: Vec::new(),
            waiting: Vec::new(),
            live: 0,
        })
    }

    /// Gives a new link its place.
    pub(super) fn insert(&mut self, handle: ConnectionHandle, link: Link) {
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
            self.waiting.resize_with(handle.0 + 1, WaitingPackets::default);
        }
        self.waiting[handle.0] = WaitingPackets::default();
        self.links[handle.0] = Some(Box::new(link));
        self.live += 1;
    }

    /// The link, if it still exists.
    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.handle as usize)?.as_deref_mut()?;
        (link.id == id).then_some(link)
    }

    /// Whether packets of a link wait until its owner takes them in.
    pub(super) fn set_patient(&mut self, id: LinkId, patient: bool) {
        if self.link(id).is_some() {
            self.waiting[id.handle as usize].patient = patient;
        }
    }

    /// Gives a link the packets that waited for it, and returns what it needs then.
    pub(super) fn take_in(&mut self, id: LinkId, inbox: &mut Inbox) -> Care {
        let handle = id.handle as usize;
        if self.link(id).is_none() || self.waiting[handle].packets.is_empty() {
            return Care::Owned;
        }
        let mut care = Care::Owned;
        let mut packets = std::mem::take(&mut self.waiting[handle].packets);
        for (at, event) in packets.drain(..) {
            let Some(link) = self.links[handle].as_deref_mut() else {
                break;
            };
            link.connection.handle_event(event);
            care = self.drive(at, id, inbox);
        }
        self.waiting[handle].packets = packets;
        care
    }

    /// Gives packet `index` of the batch that came last to the link that it is for, and returns that link and what it
    /// needs. `None`: nothing, or not before its owner takes it in.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        index: usize,
        inbox: &mut Inbox,
        traffic: &mut Traffic,
    ) -> Option<(LinkId, Care)> {
        let packet = self.wire.packet(index);
        let peer = self.wire.peer();
        let answer = self.wire.outgoing();
        match self.endpoint.handle(now, peer, None, None, packet, answer)? {
            DatagramEvent::ConnectionEvent(handle, event) => {
                let waiting = self.waiting.get_mut(handle.0)?;
                if waiting.patient && waiting.packets.len() < WAITING_PACKETS_MAX {
                    waiting.packets.push((now, event));
                    return None;
                }
                let id = self.links.get(handle.0)?.as_deref()?.id;
                self.take_in(id, inbox);
                let link = self.links.get_mut(handle.0)?.as_deref_mut()?;
                link.connection.handle_event(event);
                Some((id, self.drive(now, id, inbox)))
            }
            DatagramEvent::Response(_) => {
                self.wire.queue(traffic);
                None
            }
            // Without a server configuration the endpoint accepts nothing.
            DatagramEvent::NewConnection(incoming) => {
                self.endpoint.ignore(incoming);
                None
            }
        }
    }

    /// Lets a link look at its timers and queue what it has for the next flush of the wire.
    pub(super) fn transmit(&mut self, now: Instant, id: LinkId, inbox: &mut Inbox, traffic: &mut Traffic) -> Care {
        let Self { wire, links, .. } = self;
        let Some(link) = links
            .get_mut(id.handle as usize)
            .and_then(Option::as_deref_mut)
            .filter(|l| l.id == id)
        else {
            return Care::Gone;
        };
        link.urgent = false;
        if link.connection.poll_timeout().is_some_and(|due| due <= now) {
            link.connection.handle_timeout(now);
        }
        while let Some(transmit) = link.connection.poll_transmit(now, 1, wire.outgoing()) {
            wire.queue(traffic);
            // Asking once more costs as much as a packet.
            if transmit.size < ROOM_BYTES && !link.is_hasty() {
                break;
            }
        }
        self.drive(now, id, inbox)
    }

    fn drive(&mut self, now: Instant, id: LinkId, inbox: &mut Inbox) -> Care {
        let handle = ConnectionHandle(id.handle as usize);
        let Some(link) = self.links.get_mut(handle.0).and_then(Option::as_deref_mut) else {
            return Care::Gone;
        };
        match link.drive(handle, &mut self.endpoint, &mut LinkContext { now, inbox }) {
            LinkStatus::Drained => {
                self.links[handle.0] = None;
                self.waiting[handle.0] = WaitingPackets::default();
                self.live -= 1;
                Care::Gone
            }
            LinkStatus::Lives if link.owner.is_none() => Care::Orphan,
            LinkStatus::Lives if link.is_hasty() => Care::Urgent,
            LinkStatus::Lives => Care::Owned,
        }
    }
}
