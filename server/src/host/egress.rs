//! The driver of a zone's egress: it sends what the [`Egress`] says, and hands its leaves to the inbox. Nothing else in
//! a host talks to players. It decides nothing.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use crossbeam::channel::{Sender, TrySendError};
use everhold_core::durability::gate::Released;
use everhold_core::egress::{Egress, EgressCommand};
use everhold_core::ingress::inbox::InboxEntry;
use everhold_core::ingress::{AttachToken, Input};
use everhold_core::load::Residents;
use everhold_core::replication::Datagrams;
use everhold_core::zone::Outputs;
use everhold_net::transport::{Conn, DatagramBatch, Route};

/// A connection whose `Join` or `Resume` is on its way through the zone.
pub type PendingAttach = everhold_core::egress::PendingAttach<Conn>;

/// The zone's way to its connections.
pub(super) struct Connections {
    egress: Egress<Conn>,
    entries: Sender<InboxEntry>,
    residents: Arc<Mutex<Residents>>,
}

/// Connections that a panic takes away are closed as at any other end: silence would hold their players here. What is
/// half done in the machine may fail once more, and then they wait for the end of their patience.
impl Drop for Connections {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _half_done = catch_unwind(AssertUnwindSafe(|| self.end()));
        }
    }
}

impl Connections {
    /// `entries` is where the frames of attached connections go; `residents` is kept up to date with what is released.
    pub(super) const fn new(
        egress: Egress<Conn>,
        entries: Sender<InboxEntry>,
        residents: Arc<Mutex<Residents>>,
    ) -> Self {
        Self {
            egress,
            entries,
            residents,
        }
    }

    /// Notes that the answer to a connection's attach will come.
    pub(super) fn expect(&mut self, token: AttachToken, pending: PendingAttach) {
        self.egress.handle_asked(token, pending);
    }

    /// Notes that a connection is gone.
    pub(super) fn forget(&mut self, token: AttachToken) {
        self.egress.handle_gone(token);
        self.carry_out();
    }

    /// Notes that the player of a connection ends its session.
    pub(super) fn log_out(&mut self, token: AttachToken) {
        self.egress.handle_log_out(token);
        self.carry_out();
    }

    /// Sends a tick's replies and events.
    pub(super) fn tell(&mut self, released: Released<Outputs>, peers: &dyn Fn() -> Vec<SocketAddr>) {
        self.egress.handle_told(released, peers);
        self.carry_out();
    }

    /// Tells the players of other shards that have come or gone.
    pub(super) fn tell_peers(&mut self, peers: Vec<SocketAddr>) {
        self.egress.handle_peers(peers);
        self.carry_out();
    }

    /// Sends a tick's snapshots. A datagram that a congested connection drops is superseded by the next.
    pub(super) fn show(&self, released: Released<Datagrams>) {
        let datagrams = released.into_inner();
        let mut batch = DatagramBatch::new(datagrams.bytes().clone(), datagrams.len());
        for (session, range) in datagrams.ranges() {
            if let Some(conn) = self.egress.conn(session) {
                batch.push(conn, range);
            }
        }
        batch.send();
    }

    /// Returns the number of characters that the zone has, as far as its released ticks say.
    pub(super) fn characters(&self) -> u32 {
        let residents = self.residents.lock().expect("no holder of the residents panics");
        u32::try_from(residents.len()).unwrap_or(u32::MAX)
    }

    /// Puts an input into the inbox, if there is room.
    pub(super) fn push(&self, input: Input) {
        let _comes_again = self.entries.try_send(InboxEntry::Input(input));
    }

    /// Closes every connection.
    pub(super) fn end(&mut self) {
        self.egress.handle_end();
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.egress.poll_command() {
            match command {
                EgressCommand::NoteResidences(tick, residences) => {
                    let mut residents = self.residents.lock().expect("no holder of the residents panics");
                    residents.handle_tick(tick, &residences);
                }
                EgressCommand::Bind { conn, session, epoch } => conn.bind(Route {
                    session,
                    epoch,
                    inbox: self.entries.clone(),
                }),
                EgressCommand::Send { conn, message } => _ = conn.send_control(&message),
                EgressCommand::Close { conn, code, detail } => {
                    conn.unbind();
                    conn.close(code, detail);
                }
            }
        }
        while let Some(leave) = self.egress.poll_leave() {
            let entry = InboxEntry::Input(leave.clone());
            if let Err(TrySendError::Full(_)) = self.entries.try_send(entry) {
                // What waits is tried again with whatever is told next.
                return;
            }
            self.egress.handle_leave_taken();
        }
    }
}
