//! The game's declarations to the archive: what a person can ask of characters, things, and value.

use super::RuleBook;
use super::state::{Belongings, Body, Health};
use crate::zone::archive_schema::{ArchiveColumn, ArchiveKind, ArchiveSchema, ColumnKind, SchemaError};
use crate::zone::facts::{CharacterFacts, Fact, FrozenPlayer, Possession};

/// A kind of value, as moves name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// Coins of a purse.
    Gold,
    /// A thing with a number.
    Item,
}

impl ValueKind {
    /// Its place among the declared kinds of value.
    pub(crate) const fn index(self) -> u32 {
        match self {
            Self::Gold => 0,
            Self::Item => 1,
        }
    }
}

/// Returns the declarations. The kinds of belongings are those of items, in their order.
pub(super) fn schema(rules: &RuleBook) -> Result<ArchiveSchema, SchemaError> {
    let column = |name: &str, kind, about: &str| ArchiveColumn {
        name: name.to_owned(),
        kind,
        about: about.to_owned(),
    };
    let kind = |name: &str, about: &str| ArchiveKind {
        name: name.to_owned(),
        about: about.to_owned(),
    };
    let columns = vec![
        column("gold", ColumnKind::Integer, "Gold in the purse."),
        column("hp", ColumnKind::Integer, "Hit points; 0 is dead."),
        column("x_cm", ColumnKind::Integer, "The place in the zone: east, cm."),
        column("y_cm", ColumnKind::Integer, "The place in the zone: north, cm."),
    ];
    let items = rules
        .item()
        .kinds
        .iter()
        .map(|name| kind(name, "An item of this kind."));
    let values = vec![
        kind("gold", "Gold, in pieces."),
        kind("item", "An item, which has a number."),
    ];
    ArchiveSchema::new(columns, items.collect(), values)
}

/// Returns what the archive is to say of a character.
pub(super) fn facts(player: FrozenPlayer<'_>) -> CharacterFacts {
    let integer = |value: Option<i64>| Fact::Integer(value.unwrap_or_default());
    let health = player.get::<Health>();
    let body = player.get::<Body>();
    let belongings = player.get::<Belongings>();
    // A purse that no column holds is told as the most that one does.
    let gold = belongings.map(|belongings| i64::try_from(belongings.gold).unwrap_or(i64::MAX));
    let item = |item: &everhold_protocol::Item| Possession {
        id: item.uid.0,
        kind: item.kind.into(),
        count: 1,
    };
    CharacterFacts {
        columns: vec![
            integer(gold),
            integer(health.map(|health| health.hp.into())),
            integer(body.map(|body| body.x.into())),
            integer(body.map(|body| body.y.into())),
        ],
        possessions: belongings.map_or_else(Vec::new, |belongings| belongings.items.iter().map(item).collect()),
    }
}

#[cfg(test)]
mod tests {
    use everhold_protocol::Intent;

    use super::*;
    use crate::game::yard::{config, crowd, intent, session};
    use crate::zone::Cut;
    use crate::zone::facts::players;

    #[test]
    fn default_world_declares_its_items_in_order() {
        let rules = RuleBook::default_world();
        let schema = schema(&rules).expect("well-formed");
        let names: Vec<&String> = schema.belongings().iter().map(|kind| &kind.name).collect();
        assert_eq!(names, rules.item().kinds.iter().collect::<Vec<_>>());
        assert!(!names.is_empty());
    }

    #[test]
    fn facts_fit_the_declared_columns_and_tell_what_a_character_has() {
        let mut zone = crowd(&[], 2);
        let (giver, taker) = (session(&zone, 1), session(&zone, 2));
        zone.step(&[intent(giver, 1, Intent::GiveGold { to: taker, amount: 3 })]);
        let frozen = zone.freeze(Cut::Base);
        let config = config(&[]);
        let schema = config.game.archive_schema().expect("well-formed");
        let mut players: Vec<_> = players(&frozen)
            .map(|(session, player)| (session.account, config.game.facts(player)))
            .collect();
        players.sort_unstable_by_key(|(account, _)| *account);
        let gold: Vec<Fact> = players.iter().map(|(_, facts)| facts.columns[0].clone()).collect();
        assert_eq!(gold, [Fact::Integer(97), Fact::Integer(103)]);
        for (account, facts) in players {
            let kind = |fact: &Fact| match fact {
                Fact::Integer(_) => ColumnKind::Integer,
                Fact::Text(_) => ColumnKind::Text,
                Fact::Bool(_) => ColumnKind::Bool,
            };
            let kinds = facts.columns.iter().map(kind);
            let declared = schema.columns().iter().map(|column| column.kind);
            assert!(kinds.eq(declared), "{account:?}");
            let names = facts
                .possessions
                .iter()
                .map(|thing| &*schema.belongings()[thing.kind as usize].name);
            assert_eq!(names.collect::<Vec<_>>(), ["bread", "torch"]);
        }
    }
}
