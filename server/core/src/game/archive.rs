//! The game's declarations to the archive: what a person can ask of characters, things, and value.

use super::RuleBook;
use crate::zone::archive_schema::{ArchiveColumn, ArchiveKind, ArchiveSchema, ColumnKind, SchemaError};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_world_declares_its_items_in_order() {
        let rules = RuleBook::default_world();
        let schema = schema(&rules).expect("well-formed");
        let names: Vec<&String> = schema.belongings().iter().map(|kind| &kind.name).collect();
        assert_eq!(names, rules.item().kinds.iter().collect::<Vec<_>>());
        assert!(!names.is_empty());
    }
}
