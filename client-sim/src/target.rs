//! The target of a connection, as a person writes it: an address, or a name that may have several. Names are looked up
//! once, before a run.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// `HOST:PORT`: `192.0.2.1:4001`, `[2001:db8::1]:4001`, `shard-1.example:4001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address.
    Addr(SocketAddr),
    /// A name, and a port at each of its addresses.
    Name(String, u16),
}

/// The text is not of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HOST:PORT is wanted, with a name, an IPv4 address, or an IPv6 address in brackets for HOST")]
pub(crate) struct NoTarget;

/// Error of a name without an address.
#[derive(Debug, thiserror::Error)]
#[error("`--connect`: the host name of {target} cannot be looked up")]
pub(crate) struct LookUpError {
    target: Target,
    source: io::Error,
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Addr(addr));
        }
        let (name, port) = text.split_once(':').ok_or(NoTarget)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // Numbers with dots that are no address are a misspelt one.
        let is_numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
        match port.parse() {
            Ok(port) if name.chars().all(is_plain) && !is_numeric => Ok(Self::Name(name.to_owned(), port)),
            _ => Err(NoTarget),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => write!(f, "{addr}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Returns all addresses of all targets, each once, in the given order. A player tries one after the other.
pub(crate) fn look_up(targets: &[Target]) -> Result<Vec<SocketAddr>, LookUpError> {
    let mut addrs = Vec::new();
    for target in targets {
        let found = match target {
            Target::Addr(addr) => vec![*addr],
            Target::Name(name, port) => match (name.as_str(), *port).to_socket_addrs() {
                Ok(found) => found.collect(),
                Err(source) => {
                    let target = target.clone();
                    return Err(LookUpError { target, source });
                }
            },
        };
        for addr in found {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::{Target, look_up};

    #[test]
    fn targets_are_addresses_and_names_with_a_port() {
        let parse = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(parse("[::1]:7778"), Target::Addr("[::1]:7778".parse().unwrap()));
        assert_eq!(parse("127.0.0.1:1"), Target::Addr("127.0.0.1:1".parse().unwrap()));
        assert_eq!(
            parse("shard-1.example:7"),
            Target::Name("shard-1.example".to_owned(), 7)
        );
        for wrong in [
            "",
            "shard",
            ":7",
            "shard:",
            "shard:99999",
            "1.2.3:4",
            "::1:7",
            "a b:7",
            "127.0.0.1",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_become_all_their_addresses_each_once() {
        let local: Target = "localhost:7".parse().unwrap();
        let addrs = look_up(&[local.clone(), local, "192.0.2.1:7".parse().unwrap()]).unwrap();
        let (last, locals) = addrs.split_last().unwrap();
        assert_eq!(*last, "192.0.2.1:7".parse().unwrap());
        assert!(!locals.is_empty() && locals.iter().all(|addr| addr.ip().is_loopback()));
        assert!(locals.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn name_that_nobody_knows_is_named() {
        let error = look_up(&["no-such-host.invalid:7".parse().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid:7"), "{error}");
    }
}
