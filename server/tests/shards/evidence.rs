//! `everhold export --evidence`, `inspect`, and `replay --against` on evidence and histories that are damaged. No shard
//! runs: what a shard would have written is written here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use everhold_core::durability::evidence::{EvidenceAnswer, EvidenceMark, EvidenceWhy};
use everhold_core::durability::history::{HistoryFrame, HistoryHeader, HistoryReader, HistoryWorld, HistoryWriter};
use everhold_core::durability::store::{RecordHash, StoredRecord, ZoneStore};
use everhold_core::limits::PART_BYTES_MAX;
use everhold_core::ownership::{Authority, Grant, Nonce, Tenure};
use everhold_protocol::{Epoch, Tick, ZoneName};
use everhold_store::sqlite::{SqliteAuthority, SqliteStore};
use serde_json::Value;

use crate::world::meadow;

/// Bytes of a record here: a piece of evidence of a few records has several parts.
const RECORD_BYTES: usize = 40_000;

fn forest() -> ZoneName {
    "forest".parse().expect("a zone name")
}

fn hash(tick: u64, flavor: u8) -> RecordHash {
    let mut hash = [flavor; 32];
    hash[0] = u8::try_from(tick).expect("a small tick");
    RecordHash(hash)
}

fn record(tick: u64, flavor: u8) -> StoredRecord {
    StoredRecord {
        tick: Tick(tick),
        prev_hash: hash(tick - 1, flavor),
        hash: hash(tick, flavor),
        body: vec![flavor; RECORD_BYTES].into(),
    }
}

/// Returns a history file of a zone with these records.
fn history(zone: &ZoneName, records: impl IntoIterator<Item = StoredRecord>) -> Vec<u8> {
    let header = HistoryHeader {
        zone: zone.clone(),
        fence: (Epoch(1), Nonce(1)),
        world: HistoryWorld::default(),
        evidence: None,
    };
    let (mut writer, mut bytes) = HistoryWriter::begin(&header);
    for record in records {
        writer.frame(&HistoryFrame::Record(record), &mut bytes);
    }
    let _length = writer.finish(&mut bytes);
    bytes
}

/// A world with the zones meadow and forest, each with evidence of ten ticks.
struct Evidenced {
    dir: tempfile::TempDir,
}

impl Evidenced {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let world = dir.path().join("world");
        let authority = SqliteAuthority::open(&world).expect("a new world");
        let store = SqliteStore::open(&world).expect("a new world");
        for zone in [meadow(), forest()] {
            authority.declare_zone(&zone).await.expect("declared");
            let tenure = Tenure {
                zone: zone.clone(),
                grant: Grant::issue(Epoch(1), Nonce(1)),
            };
            store.fence(&tenure).await.expect("a new zone");
            let file = history(&zone, (1..=10).map(|tick| record(tick, 1)));
            let parts = file.chunks(PART_BYTES_MAX);
            let mark = EvidenceMark {
                epoch: Epoch(1),
                tick: Tick(10),
                why: EvidenceWhy::Forked,
                parts: u32::try_from(parts.len()).expect("a few"),
                bytes: file.len() as u64,
            };
            for (index, part) in (0..).zip(parts) {
                let put = store.put_evidence(&tenure, index, part.to_vec().into()).await;
                assert_eq!(put, Ok(EvidenceAnswer::Kept));
            }
            assert_eq!(store.seal_evidence(&tenure, mark).await, Ok(EvidenceAnswer::Kept));
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Changes the file of a zone behind its store's back.
    fn damage(&self, zone: &ZoneName, sql: &str) {
        let file = self.path("world").join(format!("zone-{zone}.db"));
        let file = rusqlite::Connection::open(file).expect("the zone's file");
        assert_eq!(file.execute(sql, []), Ok(1));
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        run(self.dir.path(), arguments)
    }

    fn export(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let export = ["export", "--state", "world", "--zone", "meadow", "--evidence"];
        self.run(&[&export, arguments].concat())
    }

    /// Returns the row of a zone.
    fn inspected(&self, zone: &ZoneName) -> Value {
        let (code, said) = self.run(&["inspect", "--state", "world", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let json = &said[said.find('[').expect("a list")..=said.rfind(']').expect("its end")];
        let rows: Value = serde_json::from_str(json).expect("JSON");
        let mut rows = rows.as_array().expect("rows").iter();
        rows.find(|row| row["zone"] == zone.as_str()).expect("the zone").clone()
    }
}

fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut everhold = Command::new(env!("CARGO_BIN_EXE_everhold"));
    everhold.args(arguments).current_dir(directory).env("RUST_LOG", "off");
    let Output { status, stdout, stderr } = everhold.output().expect("it runs");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status.code(), said.concat())
}

/// Returns the ticks of a file that must be whole.
fn ticks(path: &Path) -> Vec<u64> {
    let (mut reader, mut ticks) = (HistoryReader::default(), Vec::new());
    reader.push(&std::fs::read(path).expect("it was written"));
    while let Some(frame) = reader.poll().expect("a frame") {
        if let HistoryFrame::Record(record) = frame {
            ticks.push(record.tick.0);
        }
    }
    reader.finish().expect("a whole file");
    ticks
}

#[tokio::test]
async fn damaged_evidence_is_written_as_far_as_it_can_be_read_and_deleted() {
    let world = Evidenced::new().await;
    world.damage(&meadow(), "DELETE FROM evidence_part WHERE idx = 3");
    let (code, said) = world.export(&["-o", "out"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("part 3 of the evidence is missing") && said.contains("--forget"),
        "{said}"
    );
    assert!(!world.path("out").exists(), "nothing was asked for but a whole file");
    assert_eq!(world.inspected(&meadow())["evidence"]["is_exported"], false);

    let (code, said) = world.export(&["-o", "out", "--forget"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the evidence is damaged") && said.contains("is deleted"),
        "{said}"
    );
    assert_eq!(ticks(&world.path("out")), [1, 2, 3, 4], "three parts of 64 KiB");
    assert_eq!(world.inspected(&meadow())["evidence"], Value::Null);
    assert_eq!(world.inspected(&forest())["evidence"]["why"], "forked");
}

#[tokio::test]
async fn damaged_evidence_is_deleted_without_a_file_and_whole_one_is_not() {
    let world = Evidenced::new().await;
    let (code, said) = world.export(&["--forget"]);
    assert_eq!(code, Some(64), "it was never exported: {said}");
    world.damage(
        &meadow(),
        "UPDATE evidence_part SET bytes = zeroblob(length(bytes)) WHERE idx = 0",
    );
    let (code, said) = world.export(&["--forget"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("it was damaged: this is no history file"), "{said}");
    assert_eq!(world.inspected(&meadow())["evidence"], Value::Null);
    let (code, said) = world.export(&["--forget"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keeps no evidence"), "{said}");
}

#[tokio::test]
async fn evidence_of_which_nothing_can_be_read_leaves_no_file() {
    let world = Evidenced::new().await;
    world.damage(&meadow(), "DELETE FROM evidence_part WHERE idx = 0");
    let (code, said) = world.export(&["-o", "out", "--forget"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing of the evidence can be read"), "{said}");
    assert!(!world.path("out").exists());
    assert_eq!(world.inspected(&meadow())["evidence"], Value::Null);
}

#[tokio::test]
async fn mark_that_cannot_be_read_is_said_of_its_zone_and_hides_no_other() {
    let world = Evidenced::new().await;
    world.damage(&meadow(), "UPDATE evidence SET why = 9");
    let row = world.inspected(&meadow());
    assert_eq!(
        (&row["evidence"], row["evidence_unread"].is_string()),
        (&Value::Null, true),
        "{row}"
    );
    let other = world.inspected(&forest());
    assert_eq!(
        (&other["evidence"]["why"], &other["evidence_unread"]),
        (&"forked".into(), &Value::Null)
    );
    let (code, said) = world.run(&["inspect", "--state", "world"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("cannot be read") && said.contains("forked at tick 10"),
        "{said}"
    );

    let (code, said) = world.export(&["-o", "out"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the mark of the evidence"), "{said}");
    let (code, said) = world.export(&["--forget"]);
    assert_eq!(code, Some(0), "{said}");
    let row = world.inspected(&meadow());
    assert_eq!(
        (&row["evidence"], &row["evidence_unread"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn comparison_is_told_although_the_history_cannot_be_replayed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, records: Vec<StoredRecord>| {
        let file = history(&meadow(), records);
        std::fs::write(directory.path().join(name), file).expect("it can be written");
    };
    let whole = || (5..=12).map(|tick| record(tick, 1));
    // From no checkpoint and no beginning: nothing can be replayed.
    write("whole", whole().collect());
    write("same", whole().collect());
    write(
        "holed",
        whole().filter(|record| ![7, 8].contains(&record.tick.0)).collect(),
    );
    let other = |record: StoredRecord| match record.tick.0 {
        9.. => self::record(record.tick.0, 2),
        _ => record,
    };
    write("other", whole().map(other).collect());

    let against = |name: &str| run(directory.path(), &["replay", "whole", "--against", name]);
    let (code, said) = against("same");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("[ticks_missing]") && said.contains("histories: equal from tick 5 to tick 12"),
        "{said}"
    );
    let (code, said) = against("other");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("[ticks_missing]") && said.contains("they differ at tick 9"),
        "{said}"
    );
    let (code, said) = against("holed");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("2 records of the second are missing") && said.contains("from tick 7 to tick 8"),
        "{said}"
    );
    let (code, said) = run(directory.path(), &["replay", "whole", "--against", "holed", "--json"]);
    assert_eq!(code, Some(2), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["error"]["code"], "ticks_missing", "{said}");
    assert_eq!(said["against"]["holes"][0], Value::Null);
    assert_eq!(said["against"]["holes"][1]["first_tick"], 7);
    assert_eq!(said["against"]["compared_ticks"], 6);
}
