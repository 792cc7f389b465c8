//! The shape of a Cluster: the primary of each slot, as its nodes tell it.

use std::collections::{BTreeMap, BTreeSet};

use fred::types::Value;
use fred::types::config::Server;

/// The primary of each slot: ranges as of the last look, and what nodes have said of single slots since.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// First slot → last slot and its primary.
    ranges: BTreeMap<u16, (u16, Server)>,
    moved: BTreeMap<u16, Server>,
}

impl Shape {
    /// Reads the answer to `CLUSTER SLOTS`: ranges of first slot, last slot, primary, replicas; a server is its
    /// preferred address, port, and more. `None` if it is none, or if nodes have not told each other where they are.
    /// The node `by`, which answers, may not know its own.
    pub(super) fn read(answer: Value, by: &Server) -> Option<Self> {
        let mut ranges = BTreeMap::new();
        for range in answer.into_array() {
            let mut range = range.into_array().into_iter();
            let mut slot = || u16::try_from(range.next()?.as_u64()?).ok();
            let (first, last) = (slot()?, slot()?);
            let mut server = range.next()?.into_array().into_iter();
            let (host, port) = (server.next()?, server.next()?);
            let host = match host {
                Value::Null => by.host.to_string(),
                host => host.into_string()?,
            };
            let host = if host.is_empty() { by.host.to_string() } else { host };
            if host == "?" {
                return None;
            }
            let port = u16::try_from(port.as_u64()?).ok()?;
            ranges.insert(first, (last, Server::new(host, port)));
        }
        (!ranges.is_empty()).then(|| Self {
            ranges,
            moved: BTreeMap::new(),
        })
    }

    pub(super) fn owner(&self, slot: u16) -> Option<Server> {
        let in_range = || {
            let (_, (last, server)) = self.ranges.range(..=slot).next_back()?;
            (slot <= *last).then_some(server)
        };
        self.moved.get(&slot).or_else(in_range).cloned()
    }

    /// Returns every server that serves a slot, once, in order.
    pub(super) fn primaries(&self) -> Vec<Server> {
        let servers: BTreeSet<&Server> = self.ranges.values().map(|(_, server)| server).collect();
        servers.into_iter().cloned().collect()
    }

    pub(super) fn note_moved(&mut self, slot: u16, to: Server) {
        self.moved.insert(slot, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: impl Into<Value>, port: i64) -> Value {
        Value::Array(vec![host.into(), port.into(), "id".into(), Value::Array(Vec::new())])
    }

    fn range(first: i64, last: i64, primary: Value) -> Value {
        Value::Array(vec![first.into(), last.into(), primary, server("10.0.0.9", 9)])
    }

    #[test]
    fn slots_belong_to_their_range_until_a_node_says_otherwise() {
        let by = Server::new("10.0.0.1", 7_000);
        let answer = Value::Array(vec![
            range(0, 99, server("10.0.0.2", 7_002)),
            range(100, 100, server("", 7_001)),
            range(200, 16_383, server(Value::Null, 7_003)),
        ]);
        let mut shape = Shape::read(answer, &by).expect("a shape");
        let own = |port| Server::new("10.0.0.1", port);
        let second = Server::new("10.0.0.2", 7_002);
        assert_eq!(shape.owner(0), Some(second.clone()));
        assert_eq!(shape.owner(99), Some(second.clone()));
        assert_eq!(shape.owner(100), Some(own(7_001)));
        assert_eq!(shape.owner(101), None);
        assert_eq!(shape.owner(16_383), Some(own(7_003)));
        assert_eq!(shape.primaries(), [own(7_001), own(7_003), second.clone()]);
        shape.note_moved(16_383, second.clone());
        assert_eq!(shape.owner(16_383), Some(second));
        assert_eq!(shape.owner(16_382), Some(own(7_003)));
    }

    #[test]
    fn answers_that_are_no_shape_are_none() {
        let by = Server::new("10.0.0.1", 7_000);
        for answer in [
            Value::Null,
            Value::Array(Vec::new()),
            Value::Array(vec!["OK".into()]),
            Value::Array(vec![range(0, 70_000, server("10.0.0.2", 7_002))]),
            Value::Array(vec![range(0, 1, server("?", 7_002))]),
            Value::Array(vec![range(0, 1, server("10.0.0.2", 70_000))]),
        ] {
            assert!(Shape::read(answer.clone(), &by).is_none(), "{answer:?}");
        }
    }
}
