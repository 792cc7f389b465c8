//! The threads of a transport from outside: how they start, and how they are told to end.

use std::net::SocketAddr;
use std::sync::Arc;

use everhold_os::vital::Vital;
use everhold_protocol::RefusalCode;
use quinn_proto::Endpoint;
use tokio::sync::oneshot;

use super::NetThread;
use crate::keys::Keys;
use crate::transport::cid::ConnectionIds;
use crate::transport::mailbox::{Mailbox, StopOrder};
use crate::transport::shared::TransportShared;
use crate::transport::{TransportError, settings};

/// The threads of a transport. They end when a [`StopOrder`] is left in their mailboxes.
#[derive(Debug)]
pub(crate) struct NetThreads {
    mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) local_addr: SocketAddr,
}

/// Open sockets that no thread reads yet: what comes waits in their buffers.
pub(crate) struct OpenSockets {
    net: NetThreads,
    idle: Vec<NetThread>,
}

impl std::fmt::Debug for OpenSockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSockets")
            .field("net", &self.net)
            .finish_non_exhaustive()
    }
}

impl OpenSockets {
    /// Opens a socket for each thread.
    pub(crate) fn open(shared: &Arc<TransportShared>, keys: &Keys) -> Result<Self, TransportError> {
        let listen_error = |source| settings::listen_error(shared.config.listen, source);
        let server = Arc::new(settings::server(&shared.config, keys)?);
        let sockets = settings::open_sockets(&shared.config).map_err(listen_error)?;
        let local_addr = sockets[0].local_addr().map_err(listen_error)?;
        let mut mailboxes = Vec::new();
        let mut receivers = Vec::new();
        for _ in &sockets {
            let (mailbox, receiver) = Mailbox::new(Arc::clone(&shared.counters)).map_err(listen_error)?;
            mailboxes.push(Arc::new(mailbox));
            receivers.push(receiver);
        }
        let net = NetThreads { mailboxes, local_addr };
        let mut idle = Vec::new();
        for (index, (socket, receiver)) in sockets.into_iter().zip(receivers).enumerate() {
            let index = u8::try_from(index).expect("fewer net threads than 256");
            let ids = ConnectionIds::new(keys.connection_id_key(), index);
            let config = Arc::new(settings::endpoint(keys, ids));
            // Path MTU discovery is off.
            let endpoint = Endpoint::new(config, Some(Arc::clone(&server)), false, None);
            let thread = NetThread::new(
                index,
                ids,
                (&net.mailboxes, receiver),
                Arc::clone(shared),
                endpoint,
                socket,
            );
            idle.push(thread.map_err(listen_error)?);
        }
        Ok(Self { net, idle })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.net.local_addr
    }

    /// Starts a thread for each socket.
    pub(crate) fn start(self) -> Result<NetThreads, TransportError> {
        // What has started ends with this if the rest cannot start.
        let net = self.net;
        for mut thread in self.idle {
            let listen = thread.shared.config.listen;
            std::thread::Builder::new()
                .name(format!("net-{}", thread.index))
                .spawn(move || {
                    let _vital = Vital::new("net thread");
                    let done = thread.run();
                    // The port is free when the waiter hears of it.
                    drop(thread);
                    // It may have stopped waiting.
                    let _gone = done.map(|done| done.send(()));
                })
                .map_err(|source| settings::listen_error(listen, source))?;
        }
        Ok(net)
    }
}

impl NetThreads {
    /// Closes every connection with `code`, and waits until the threads are over.
    pub(crate) async fn close(&mut self, code: RefusalCode) {
        let waits: Vec<_> = self
            .mailboxes
            .iter()
            .map(|mailbox| {
                let (done, wait) = oneshot::channel();
                mailbox.stop(StopOrder { code, done: Some(done) });
                wait
            })
            .collect();
        for wait in waits {
            // A thread that failed has ended the process.
            let _done = wait.await;
        }
    }
}

impl Drop for NetThreads {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            let code = RefusalCode::Stopping;
            mailbox.stop(StopOrder { code, done: None });
        }
    }
}
