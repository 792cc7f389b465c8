//! The reference transport: stock quinn, an accept loop, and two tasks for each connection. It is there to be compared
//! with: whatever it tells players and shard, net threads tell, too. Tests run on both.

mod accept;
pub(super) mod line;
mod reader;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everhold_core::limits::CLOSE_MS_MAX;
use everhold_protocol::RefusalCode;
use quinn::{Endpoint, TokioRuntime, VarInt};
use tokio::task::JoinHandle;

use super::cid::ConnectionIds;
use super::shared::TransportShared;
use super::{TransportError, settings};
use crate::keys::Keys;

/// A bound endpoint with its accept loop.
#[derive(Debug)]
pub(super) struct Reference {
    endpoint: Endpoint,
    pub(super) local_addr: SocketAddr,
    accept_task: JoinHandle<()>,
}

impl Reference {
    pub(super) fn start(shared: &Arc<TransportShared>, keys: &Keys) -> Result<Self, TransportError> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let listen_error = |source| settings::listen_error(shared.config.listen, source);
        let server = settings::server(&shared.config, keys)?;
        let ids = ConnectionIds::new(keys.connection_id_key(), 0);
        let mut sockets = settings::open_sockets(&shared.config).map_err(listen_error)?;
        let endpoint = Endpoint::new(
            settings::endpoint(keys, ids),
            Some(server),
            sockets.remove(0),
            Arc::new(TokioRuntime),
        )
        .map_err(listen_error)?;
        let local_addr = endpoint.local_addr().map_err(listen_error)?;
        let accept_task = runtime.spawn(accept::accept(endpoint.clone(), Arc::clone(shared)));
        Ok(Self {
            endpoint,
            local_addr,
            accept_task,
        })
    }

    pub(super) async fn close(&self, code: RefusalCode) {
        self.endpoint.close(VarInt::from_u32(code.code()), b"");
        let idle = tokio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), self.endpoint.wait_idle()).await;
        if idle.is_err() {
            tracing::debug!("some peers have not acknowledged that the transport is closed");
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.accept_task.abort();
        self.endpoint.close(VarInt::from_u32(RefusalCode::Stopping.code()), b"");
    }
}
