//! `PROTOCOL.md` is true: its dumps are the golden ones, and its tables agree with the source.

use std::collections::BTreeSet;
use std::path::PathBuf;

use everhold_protocol::codec::Writer;
use everhold_protocol::{EntityId, Heading, Intent, RefusalCode, limits};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");
const EVENTS: &str = include_str!("../../src/event.rs");

/// Returns the lines between two `<!-- name -->`, without the table's head.
fn rows(name: &str) -> Vec<Vec<String>> {
    let mark = format!("<!-- {name} -->");
    let table = DOCUMENT.split(&mark).nth(1).expect("a table between two markers");
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect()
}

/// Returns the texts in backticks in a table's column.
fn names(table: &str, column: usize) -> Vec<String> {
    let bare = |row: Vec<String>| row[column].trim_matches('`').to_owned();
    rows(table).into_iter().map(bare).collect()
}

/// Reads the variants of an enum, in order, off its source.
fn variants(source: &str, name: &str) -> Vec<String> {
    let head = format!("pub enum {name} {{\n");
    let body = source
        .split(&head)
        .nth(1)
        .expect("the enum")
        .split("\n}")
        .next()
        .expect("its end");
    let is_variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
    let word = |line: &str| {
        line.trim()
            .split(|letter: char| !letter.is_alphanumeric())
            .next()
            .map(str::to_owned)
    };
    body.lines().filter(is_variant).filter_map(word).collect()
}

#[test]
fn dumps_are_the_golden_ones_and_complete() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../assets/golden");
    let mut shown = BTreeSet::new();
    for block in DOCUMENT.split("```hex ").skip(1) {
        let (name, rest) = block.split_once('\n').expect("a dump after its name");
        let (dump, _) = rest.split_once("```").expect("a dump that ends");
        let kept = std::fs::read_to_string(golden.join(format!("{name}.hex"))).expect("a golden file of that name");
        assert_eq!(dump, kept, "{name}: copy the dump from assets/golden/{name}.hex");
        shown.insert(name.to_owned());
    }
    let files = std::fs::read_dir(golden)
        .expect("the golden files")
        .map(|entry| entry.expect("a file").path());
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let all: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|e| e == "hex"))
        .map(stem)
        .collect();
    assert_eq!(shown, all, "each golden message has a dump in PROTOCOL.md");
}

#[test]
fn refusal_codes_are_those_of_the_source() {
    let told: Vec<Vec<String>> = rows("codes").into_iter().map(|row| row[..3].to_vec()).collect();
    let row = |code: RefusalCode| {
        let last = if code.is_final() { "yes" } else { "no" };
        vec![code.code().to_string(), format!("`{code:?}`"), last.to_owned()]
    };
    assert_eq!(told, RefusalCode::ALL.map(row));
}

#[test]
fn events_and_reasons_are_those_of_the_source() {
    assert_eq!(names("events", 0), variants(EVENTS, "Event"));
    assert_eq!(names("reasons", 0), variants(EVENTS, "RejectReason"));
    let causes: BTreeSet<_> = ["GoldCause", "ItemCause"]
        .iter()
        .flat_map(|name| variants(EVENTS, name))
        .collect();
    for cause in causes {
        assert!(
            DOCUMENT.contains(&format!("`{cause}")),
            "PROTOCOL.md does not name the cause `{cause}`"
        );
    }
}

#[test]
fn intents_are_those_of_the_source() {
    let id = EntityId::new(1, 2);
    let intents = [
        ("Move", Intent::Move(Heading::STILL)),
        ("Strike", Intent::Strike { target: id }),
        ("PickUp", Intent::PickUp { item: id }),
        ("GiveGold", Intent::GiveGold { to: id, amount: 1 }),
        ("GiveItem", Intent::GiveItem { to: id, item: id }),
        ("Say", Intent::Say("x".to_owned())),
    ];
    let tagged = intents.map(|(name, intent)| {
        let mut bytes = Vec::new();
        intent.encode(&mut Writer::new(&mut bytes));
        (bytes[0].to_string(), name.to_owned())
    });
    let told: Vec<_> = names("intents", 0).into_iter().zip(names("intents", 1)).collect();
    assert_eq!(told, tagged);
    let source = variants(include_str!("../../src/intent.rs"), "Intent");
    assert_eq!(names("intents", 1), source, "a new intent has a row, and a line above");
}

#[test]
fn limits_are_those_of_the_source() {
    let told: Vec<_> = names("limits", 0).into_iter().zip(names("limits", 1)).collect();
    let source = [
        ("DATAGRAM_BYTES_MAX", limits::DATAGRAM_BYTES_MAX as u64),
        ("DATAGRAM_FRAME_BYTES_MIN", limits::DATAGRAM_FRAME_BYTES_MIN as u64),
        ("CONTROL_BYTES_MAX", limits::CONTROL_BYTES_MAX as u64),
        ("HELLO_BYTES_MAX", limits::HELLO_BYTES_MAX as u64),
        ("FRAME_INTENTS_MAX", limits::FRAME_INTENTS_MAX as u64),
        ("UNCONFIRMED_INTENTS_MAX", limits::UNCONFIRMED_INTENTS_MAX as u64),
        ("CHAT_BYTES_MAX", limits::CHAT_BYTES_MAX as u64),
        ("CHAT_MARKS_MAX", limits::CHAT_MARKS_MAX.into()),
        ("CHAT_INVISIBLE_MAX", limits::CHAT_INVISIBLE_MAX.into()),
        ("INVENTORY_ITEMS_MAX", limits::INVENTORY_ITEMS_MAX as u64),
        ("SECRET_BYTES", limits::SECRET_BYTES as u64),
        ("DEVIATION_CM_MAX", limits::DEVIATION_CM_MAX.unsigned_abs().into()),
        ("REFRESH_TICKS", limits::REFRESH_TICKS),
        ("FORGET_TICKS", limits::FORGET_TICKS),
        ("TICKET_LIFETIME_S_MAX", limits::TICKET_LIFETIME_S_MAX),
        ("TICKET_SKEW_S", limits::TICKET_SKEW_S),
        ("LOGIN_MS_MAX", limits::LOGIN_MS_MAX),
        ("IDLE_MS_MAX", limits::IDLE_MS_MAX),
        ("CONTROL_MESSAGES_PER_S", limits::CONTROL_MESSAGES_PER_S.into()),
        ("DATAGRAMS_PER_TICK", limits::DATAGRAMS_PER_TICK.into()),
        ("DATAGRAMS_EXTRA_PER_S", limits::DATAGRAMS_EXTRA_PER_S.into()),
        ("DATAGRAMS_MALFORMED_MAX", limits::DATAGRAMS_MALFORMED_MAX.into()),
    ];
    assert_eq!(told, source.map(|(name, value)| (name.to_owned(), value.to_string())));
    let constant = |line: &str| {
        line.strip_prefix("pub const ")
            .and_then(|rest| rest.split(':').next().map(str::to_owned))
    };
    let all: Vec<String> = include_str!("../../src/limits.rs")
        .lines()
        .filter_map(constant)
        .collect();
    let missing: Vec<_> = all.iter().filter(|name| !names("limits", 0).contains(name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "each limit of the protocol has a row");
}

#[test]
fn versions_are_those_of_the_source() {
    let alpn = std::str::from_utf8(everhold_protocol::ALPN).expect("text");
    let version = everhold_protocol::PROTOCOL_VERSION;
    assert!(DOCUMENT.contains(&format!("version {version} of the protocol, ALPN `{alpn}`")));
}
