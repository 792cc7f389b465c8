//! Hosts as a person writes them: an address or a name, with or without a port. It looks no name up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::ConfigError;

/// Longest host name, bytes, as DNS has it.
const NAME_BYTES_MAX: usize = 253;

/// An address, or a name that is still to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address; never an IPv4 one in the form of an IPv6 one.
    Ip(IpAddr),
    /// A name.
    Name(String),
}

/// `HOST` or `HOST:PORT`: `192.0.2.1:4001`, `[2001:db8::1]:4001`, `shard-1.example:4001`, and each without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The part before the colon.
    pub host: Host,
    /// The part after it.
    pub port: Option<u16>,
}

/// Not of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHost;

impl FromStr for HostPort {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::new(Host::Ip(addr.ip().to_canonical()), Some(addr.port())));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::new(Host::Ip(ip.to_canonical()), None));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| NoHost)?)),
            None => (text, None),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // Four numbers with dots that are no address are a misspelt one.
        let is_numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
        if name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) || is_numeric {
            return Err(NoHost);
        }
        Ok(Self::new(Host::Name(name.to_owned()), port))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::from((*ip, port))),
            (Host::Ip(ip), None) => write!(f, "{ip}"),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => f.write_str(name),
        }
    }
}

impl HostPort {
    const fn new(host: Host, port: Option<u16>) -> Self {
        Self { host, port }
    }

    /// Whether it is every address of the host, which is none that anybody could be sent to.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host, Host::Ip(ip) if ip.is_unspecified())
    }
}

/// Checks `shard.listen` and `shard.advertise` (empty: there is none), alone and together.
pub(super) fn addresses(listen: &str, advertise: &str) -> Result<(HostPort, Option<HostPort>), ConfigError> {
    let range = |key, must, is: &str| ConfigError::Range {
        key,
        must,
        is: format!("{is:?}"),
    };
    let must = "HOST:PORT, with an address or a name for HOST";
    let listen = match listen.parse::<HostPort>() {
        Ok(host) if host.port.is_some() => host,
        _ => return Err(range("shard.listen", must, listen)),
    };
    if advertise.is_empty() {
        return if listen.is_wildcard() {
            Err(ConfigError::Unreachable(listen))
        } else {
            Ok((listen, None))
        };
    }
    let must = "HOST or HOST:PORT, by which players reach this shard";
    let advertised = match advertise.parse::<HostPort>() {
        Ok(host) if host.port != Some(0) && !host.is_wildcard() => host,
        _ => return Err(range("shard.advertise", must, advertise)),
    };
    if listen.port == Some(0) && advertised.port.is_some() {
        let must = "without a port, because shard.listen takes any free one (port 0)";
        return Err(range("shard.advertise", must, advertise));
    }
    Ok((listen, Some(advertised)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(listen: &str, advertise: &str) -> String {
        addresses(listen, advertise).expect_err("it is refused").to_string()
    }

    #[test]
    fn every_form_reads_and_prints_as_itself() {
        for text in [
            "192.0.2.1:4001",
            "192.0.2.1",
            "[2001:db8::1]:4001",
            "2001:db8::1",
            "shard-1.example:4001",
            "localhost",
        ] {
            assert_eq!(text.parse::<HostPort>().expect(text).to_string(), text);
        }
        let bracketed: HostPort = "[::1]".parse().expect("an address in brackets");
        assert_eq!(bracketed.to_string(), "::1");
        let mapped: HostPort = "[::ffff:192.0.2.1]:1".parse().expect("a mapped address");
        assert_eq!(mapped.to_string(), "192.0.2.1:1");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":4001",
            "host:",
            "host:70000",
            "a b",
            "1.2.3",
            "300.0.0.1:1",
            "[::1",
            "http://host",
            &"a".repeat(254),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(NoHost), "{text:?}");
        }
    }

    #[test]
    fn wildcard_without_an_address_for_players_is_refused_with_the_way_out() {
        for listen in ["0.0.0.0:4001", "[::]:4001", "[::ffff:0.0.0.0]:4001", "0.0.0.0:0"] {
            let error = refusal(listen, "");
            for word in ["shard.advertise", "--advertise", "EVERHOLD_SHARD_ADVERTISE"] {
                assert!(error.contains(word), "{error}");
            }
            addresses(listen, "shard-1.example").expect("players have somewhere to go");
        }
    }

    #[test]
    fn nobody_is_sent_to_a_wildcard_or_to_port_0() {
        for advertise in ["0.0.0.0:4001", "[::]", "shard-1:0", ":1"] {
            let error = refusal("127.0.0.1:4001", advertise);
            assert!(error.starts_with("`shard.advertise` must be HOST"), "{error}");
        }
    }

    #[test]
    fn free_port_is_advertised_as_it_comes_out_or_not_at_all() {
        let (_, advertise) = addresses("0.0.0.0:0", "192.0.2.1").expect("the port comes with the socket");
        assert_eq!(advertise.expect("one is given").port, None);
        assert!(refusal("0.0.0.0:0", "192.0.2.1:4001").contains("without a port"));
    }

    #[test]
    fn listening_needs_a_port() {
        assert!(refusal("127.0.0.1", "").starts_with("`shard.listen` must be HOST:PORT"));
    }
}
