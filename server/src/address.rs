//! The addresses of a shard: where it listens, and where players are sent. Names are looked up once, at start; no
//! packet waits for a name.
//!
//! The directory, leases, and every message carry socket addresses. A shard whose name gets another address announces
//! that after its next start.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, Host, HostPort};

/// The reason why a host name gives no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The resolver does not know it, or does not answer.
    #[error("`{key}`: the host name {name} cannot be looked up")]
    Lookup {
        /// The key of the configuration.
        key: &'static str,
        /// The name.
        name: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// It has addresses, but none that can be used.
    #[error("`{key}`: the host name {name} has no address of {family}")]
    NoneFits {
        /// The key of the configuration.
        key: &'static str,
        /// The name.
        name: String,
        /// The family of addresses that was looked for.
        family: &'static str,
    },
    /// A name that means every address.
    #[error(
        "`shard.listen`: the host name {0} is every address of this host; listen on 0.0.0.0 or [::] and set \
         shard.advertise"
    )]
    Wildcard(String),
}

/// A shard's addresses, as looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardAddresses {
    /// The address on which it listens, with the configured port.
    pub listen: SocketAddr,
    advertise: Option<(IpAddr, Option<u16>)>,
}

impl ShardAddresses {
    /// Looks the configured hosts up. `shard.listen` is the first address of its name; `shard.advertise` the first of
    /// the family that is listened on, or of either for `[::]`, which serves both.
    pub async fn look_up(config: &Config) -> Result<Self, AddressError> {
        let ip = first("shard.listen", &config.listen, ("any family", |_| true)).await?;
        if let (Host::Name(name), true) = (&config.listen.host, ip.is_unspecified()) {
            return Err(AddressError::Wildcard(name.clone()));
        }
        let listen = SocketAddr::new(ip, config.listen.port.unwrap_or(0));
        let advertise = match &config.advertise {
            None => None,
            Some(host) => Some((first("shard.advertise", host, reachable_at(ip)).await?, host.port)),
        };
        Ok(Self { listen, advertise })
    }

    /// Returns the address to which players are sent, once the socket is bound to `bound`: the advertised address, with
    /// the bound port unless it names one; without it the bound address itself.
    #[must_use]
    pub fn announced(&self, bound: SocketAddr) -> SocketAddr {
        match self.advertise {
            None => SocketAddr::new(bound.ip().to_canonical(), bound.port()),
            Some((ip, port)) => SocketAddr::new(ip, port.unwrap_or_else(|| bound.port())),
        }
    }
}

/// A family of addresses, in words and as a test.
type Family = (&'static str, fn(&IpAddr) -> bool);

/// The addresses at which somebody who listens on `ip` can be reached.
fn reachable_at(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => ("IPv4, on which this shard listens", IpAddr::is_ipv4),
        IpAddr::V6(ip) if ip.is_unspecified() => ("any family", |_| true),
        IpAddr::V6(_) => ("IPv6, on which this shard listens", IpAddr::is_ipv6),
    }
}

async fn first(key: &'static str, host: &HostPort, (family, fits): Family) -> Result<IpAddr, AddressError> {
    let name = match &host.host {
        // Whoever writes an address knows why: behind a translation it may be of the other family.
        Host::Ip(ip) => return Ok(*ip),
        Host::Name(name) => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let found = found.map_err(|source| AddressError::Lookup {
        key,
        name: name.clone(),
        source,
    })?;
    let mut ips = found.map(|addr| addr.ip().to_canonical());
    ips.find(fits).ok_or_else(|| AddressError::NoneFits {
        key,
        name: name.clone(),
        family,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    async fn look_up(listen: &str, advertise: &str) -> Result<ShardAddresses, AddressError> {
        let mut raw = RawConfig::default();
        raw.set_text("shard", "listen", listen).expect("a known key");
        raw.set_text("shard", "advertise", advertise).expect("a known key");
        ShardAddresses::look_up(&raw.resolve().expect("well-formed")).await
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn without_another_address_players_are_sent_where_the_shard_listens() {
        let addresses = look_up("[::1]:0", "").await.expect("no name");
        assert_eq!(addresses.announced(addr("[::1]:4321")), addr("[::1]:4321"));
    }

    #[tokio::test]
    async fn advertised_host_takes_the_port_that_is_bound_or_its_own() {
        let free = look_up("0.0.0.0:0", "192.0.2.1").await.expect("no name");
        assert_eq!(free.announced(addr("0.0.0.0:4321")), addr("192.0.2.1:4321"));
        let mapped = look_up("0.0.0.0:4001", "192.0.2.1:80").await.expect("no name");
        assert_eq!(mapped.announced(addr("0.0.0.0:4001")), addr("192.0.2.1:80"));
    }

    #[tokio::test]
    async fn name_becomes_an_address_of_the_family_that_is_listened_on() {
        let addresses = look_up("localhost:4001", "").await.expect("every host knows itself");
        assert!(addresses.listen.ip().is_loopback(), "{addresses:?}");
        let addresses = look_up("127.0.0.1:4001", "localhost")
            .await
            .expect("every host knows itself");
        assert_eq!(addresses.announced(addresses.listen), addr("127.0.0.1:4001"));
    }

    #[tokio::test]
    async fn name_that_nobody_knows_is_named_with_its_key() {
        let error = look_up("127.0.0.1:4001", "no-such-host.invalid")
            .await
            .expect_err("it is unknown");
        let text = error.to_string();
        assert!(
            text.contains("shard.advertise") && text.contains("no-such-host.invalid"),
            "{text}"
        );
    }
}
