//! Brings a shard into its world: an address, and the directory. It decides nothing.

use std::net::SocketAddr;

use anyhow::Context;
use everhold_core::ownership::{KeyFingerprints, Nonce};
use everhold_net::keys::Keys;
use everhold_net::transport::{AdmissionLimits, BoundTransport, ConnEvent, Transport, TransportConfig};
use tokio::sync::mpsc;

use crate::address::ShardAddresses;
use crate::config::Config;
use crate::guardian::{GuardianLink, orphan};
use crate::membership;
use crate::stores::Coordination;

/// Takes the address to listen on, at which no player is answered yet. Also returns where players are sent.
pub(super) async fn take_address(
    config: &Config,
    keys: &Keys,
    guardian: &mut GuardianLink,
    events: mpsc::Sender<ConnEvent>,
) -> anyhow::Result<(BoundTransport, SocketAddr)> {
    let addresses = ShardAddresses::look_up(config).await?;
    guardian.note_listen(addresses.listen);
    orphan::succeed(addresses.listen)
        .await
        .context("ask for the address to listen on")?;
    let transport = Transport::open(transport_config(config, addresses.listen), keys, events)?;
    let addr = addresses.announced(transport.local_addr());
    Ok((transport, addr))
}

/// Joins the directory. Zones are declared by the keeper, as it finds them missing.
pub(super) async fn enter_world(
    coordination: &Coordination,
    config: &Config,
    (nonce, addr, keys): (Nonce, SocketAddr, &KeyFingerprints),
) -> anyhow::Result<()> {
    membership::join(coordination.membership.as_ref(), (nonce, addr), keys, config.lease.ttl)
        .await
        .with_context(|| format!("join the world with the keys in {}", config.keys.display()))?;
    Ok(())
}

fn transport_config(config: &Config, listen: SocketAddr) -> TransportConfig {
    TransportConfig {
        admission: AdmissionLimits {
            connections_max: config.connections_max,
            ..AdmissionLimits::default()
        },
        address: config.address,
        login_deadline: config.login_deadline,
        net_threads: config.net_threads,
        ..TransportConfig::new(listen, config.tick_hz)
    }
}

/// Draws the number of this process start.
pub(super) fn random_nonce() -> anyhow::Result<Nonce> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no randomness from the operating system: {e}"))?;
    // 63 bits: SQLite's integers are signed.
    Ok(Nonce(u64::from_le_bytes(bytes) >> 1))
}
