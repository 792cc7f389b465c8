//! The changes from one rule book to another, number by number, for people. It applies none.

use std::collections::BTreeMap;

use toml::Value;

use super::book::RuleBook;

/// A number, or a list of them, that is another in the new book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesChange {
    /// Its place: `player.hp`, or `zone.meadow.width_cm`.
    pub key: String,
    /// The old value. `None`: there was none.
    pub before: Option<String>,
    /// The new value. `None`: there is none.
    pub after: Option<String>,
}

/// Returns what is another in `after`, in order of key. A zone is known by its name, wherever it stands.
///
/// # Panics
/// Never: a book's text is TOML.
#[must_use]
pub fn changes(before: &RuleBook, after: &RuleBook) -> Vec<RulesChange> {
    let (before, after) = (values(before), values(after));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |key: &&String| RulesChange {
        key: (*key).clone(),
        before: before.get(*key).cloned(),
        after: after.get(*key).cloned(),
    };
    keys.iter()
        .map(change)
        .filter(|change| change.before != change.after)
        .collect()
}

fn values(book: &RuleBook) -> BTreeMap<String, String> {
    let table = toml::from_str(&book.to_toml()).expect("a book's text is TOML");
    let mut values = BTreeMap::new();
    flatten(String::new(), &table, &mut values);
    values
}

fn flatten(key: String, value: &Value, values: &mut BTreeMap<String, String>) {
    let below = |name: &str| {
        if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        }
    };
    match value {
        Value::Table(table) => table
            .iter()
            .for_each(|(name, value)| flatten(below(name), value, values)),
        Value::Array(zones) if zones.iter().all(|zone| name_of(zone).is_some()) && !zones.is_empty() => {
            for zone in zones {
                flatten(below(name_of(zone).unwrap_or_default()), zone, values);
            }
        }
        value => _ = values.insert(key, value.to_string()),
    }
}

/// Returns the name of a zone, if the value is one.
fn name_of(value: &Value) -> Option<&str> {
    value.as_table()?.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = include_str!("../../../../../assets/world.toml");

    fn changed(from: &str, to: &str) -> Vec<RulesChange> {
        assert!(WORLD.contains(from), "{from}");
        let before = RuleBook::from_toml(WORLD).unwrap();
        changes(&before, &RuleBook::from_toml(&WORLD.replacen(from, to, 1)).unwrap())
    }

    #[test]
    fn each_number_that_changed_is_told_with_both_values() {
        let change = |key: &str, before: &str, after: &str| RulesChange {
            key: key.to_owned(),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
        };
        assert_eq!(changed("# The world", "# A world"), []);
        assert_eq!(changed("hp = 100", "hp = 90"), [change("player.hp", "100", "90")]);
        assert_eq!(
            changed("width_cm = 60_000", "width_cm = 61_000"),
            [change("zone.meadow.width_cm", "60000", "61000")]
        );
    }

    #[test]
    fn zone_that_came_or_went_is_told_whole() {
        let told = changed("name = \"harbor\"", "name = \"haven\"");
        let of = |prefix: &str| told.iter().filter(|change| change.key.starts_with(prefix)).count();
        assert!(of("zone.harbor.") > 5 && of("zone.harbor.") == of("zone.haven."));
        assert_eq!(told.len(), of("zone.h"));
        let is_one_sided = |change: &RulesChange| change.before.is_some() != change.after.is_some();
        assert!(told.iter().all(is_one_sided));
    }
}
