//! The answers with which a node of a Cluster sends a command elsewhere instead of running it.

use fred::types::config::Server;

/// A node's answer that it has done nothing, because the slot is not its own alone.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis::link) enum Redirection {
    /// The slot is another's for good.
    Moved { slot: u16, to: Server },
    /// The slot is on its way, and these keys have arrived there, or are to.
    Ask { to: Server },
    /// The slot is on its way, and so are some of these keys.
    TryAgain,
}

impl Redirection {
    /// Whether these are the words of a redirection.
    pub(in crate::redis::link) fn is_one(said: &str) -> bool {
        ["MOVED ", "ASK ", "TRYAGAIN "]
            .iter()
            .any(|kind| said.starts_with(kind))
    }

    /// Reads what was `said` by the node at `by`, which leaves out its host if it does not know its own.
    pub(super) fn read(said: &str, by: &Server) -> Option<Self> {
        let mut words = said.split_whitespace();
        let kind = words.next()?;
        if kind == "TRYAGAIN" {
            return Some(Self::TryAgain);
        }
        let (slot, to) = (words.next()?, words.next()?);
        let (host, port) = to.rsplit_once(':')?;
        let host = if host.is_empty() { &by.host } else { host };
        let to = Server::new(host.to_owned(), port.parse().ok()?);
        match kind {
            "MOVED" => Some(Self::Moved {
                slot: slot.parse().ok()?,
                to,
            }),
            "ASK" => Some(Self::Ask { to }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_node_that_did_nothing_are_told_from_errors() {
        let by = Server::new("10.0.0.1", 7_000);
        let read = |said: &str| Redirection::read(said, &by);
        let at = |host: &str| Server::new(host.to_owned(), 7_001);
        let moved = |host| {
            Some(Redirection::Moved {
                slot: 12_182,
                to: at(host),
            })
        };
        assert_eq!(read("MOVED 12182 10.0.0.2:7001"), moved("10.0.0.2"));
        assert_eq!(read("MOVED 12182 :7001"), moved("10.0.0.1"));
        assert_eq!(read("MOVED 12182 fd00::2:7001"), moved("fd00::2"));
        assert_eq!(
            read("ASK 12182 redis-2.example:7001"),
            Some(Redirection::Ask {
                to: at("redis-2.example")
            })
        );
        assert_eq!(
            read("TRYAGAIN Multiple keys request during rehashing of slot"),
            Some(Redirection::TryAgain)
        );
        for error in [
            "",
            "MOVED",
            "MOVED 12182",
            "MOVED 99999 a:1",
            "MOVED 1 a:port",
            "CLUSTERDOWN The cluster is down",
            "READONLY You can't write against a read only replica.",
            "ERR MOVED 1 a:1",
        ] {
            assert_eq!(read(error), None, "{error}");
        }
    }
}
