//! `everhold export` and `everhold replay` on worlds that real shards made: alive, stopped, damaged, and divergent.

use std::path::PathBuf;
use std::process::{Command, Output};

use everhold_core::durability::evidence::{EvidenceOutcome, EvidenceWhy};
use everhold_core::durability::store::{Position, ZoneOutline, ZoneStore};
use everhold_protocol::client::Notice;
use everhold_protocol::{Epoch, Intent, Tick};
use everhold_store::sqlite::SqliteStore;
use rustix::process::Signal;
use serde_json::Value;

use crate::redis::playing;
use crate::world::{PATIENCE, World, meadow};

/// Checkpoints so often that a test soon has bases and deltas.
const OFTEN: &str = "[durability]\ndelta_ms = 300\nbase_ms = 1500\n";
/// One base at the beginning, and none after it while a test runs.
const ONCE: &str = "[durability]\ndelta_ms = 600000\nbase_ms = 600000\n";
/// A line of chat after which the sabotaged owner's world is not the one of its inputs.
const DRIFT: &str = "drift";

/// A world, and the files that are exported from it.
struct Archive {
    world: World,
    files: tempfile::TempDir,
}

impl Archive {
    fn new(world: World) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        Self { world, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut everhold = Command::new(env!("CARGO_BIN_EXE_everhold"));
        everhold.arg(command).args(arguments).current_dir(self.files.path());
        let Output { status, stdout, stderr } = everhold.output().expect("it runs");
        let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (status.code(), said.concat())
    }

    /// The same, with the world's own store.
    fn on_store(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let world = self.world.cluster.world();
        let world = world.to_str().expect("a plain path");
        self.run(command, &[&["--state", world], arguments].concat())
    }

    fn export(&self, name: &str) -> String {
        let (code, said) = self.on_store("export", &["--zone", "meadow", "-o", name]);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    async fn outline(&self) -> ZoneOutline {
        let store = SqliteStore::open(&self.world.cluster.world()).expect("the world");
        store.outline(&meadow(), None).await.expect("readable")
    }

    /// Waits until the store has what is asked for.
    async fn until(&self, what: &str, found: impl Fn(&ZoneOutline) -> bool) -> ZoneOutline {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let outline = self.outline().await;
            if found(&outline) {
                return outline;
            }
            assert!(tokio::time::Instant::now() < until, "{what}: {outline:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    fn inspected(&self) -> Value {
        let (code, said) = self.on_store("inspect", &["--json"]);
        assert_eq!(code, Some(0), "{said}");
        let rows: Value = serde_json::from_str(&said).expect("JSON");
        let rows = rows.as_array().expect("rows");
        rows.iter()
            .find(|row| row["zone"] == "meadow")
            .expect("the zone")
            .clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn played_zone_is_exported_while_it_lives_and_replayed_with_equal_digests() {
    let mut archive = Archive::new(World::with_endless_leases());
    let owner = archive.world.shard_configured(&[meadow()], OFTEN);
    let (player, ..) = playing(&archive.world).await;
    let ticks = |outline: &ZoneOutline| outline.end() >= Tick(80);
    archive.until("four seconds", ticks).await;
    archive.export("living");
    archive.world.cluster.signal(owner, Signal::TERM).expect("it lives");
    archive
        .world
        .cluster
        .wait_until_dead(owner, PATIENCE)
        .expect("it stops");
    drop(player);
    archive.export("stopped");

    for (name, source) in [("living", None), ("stopped", None), ("the store", Some(()))] {
        let (code, said) = match source {
            None => archive.run("replay", &[name, "--player", "7", "--digests"]),
            Some(()) => archive.on_store("replay", &["--zone", "meadow", "--player", "7", "--digests"]),
        };
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(
            said.contains("are equal") && !said.contains("all 0 are"),
            "{name}: {said}"
        );
        assert!(
            said.contains("account 7, session ") && said.contains("  Body { x: "),
            "{name}: {said}"
        );
    }
    let (code, said) = archive.run("replay", &["stopped", "--against", "living"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("histories: equal from tick"), "{said}");

    let end = archive.outline().await.end();
    let beyond = (end + 1).to_string();
    let (code, said) = archive.run("replay", &["stopped", "--to", &beyond, "--json"]);
    assert_eq!(code, Some(2), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["error"]["code"], "ticks_missing", "{said}");
    let (code, said) = archive.on_store("export", &["--zone", "nowhere", "-o", "none"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no data of this zone") && !archive.file("none").exists(),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn record_that_is_damaged_in_the_store_is_named() {
    let mut archive = Archive::new(World::with_endless_leases());
    let owner = archive.world.shard_configured(&[meadow()], ONCE);
    let (_player, ..) = playing(&archive.world).await;
    archive.until("two seconds", |outline| outline.end() >= Tick(40)).await;
    archive.world.cluster.kill(owner).expect("a kill");
    archive.export("whole");
    let last = archive.outline().await.end();
    let struck = last - 5;
    let file = archive.world.cluster.world().join("zone-meadow.db");
    let file = rusqlite::Connection::open(file).expect("the zone's file");
    let place = [struck.0.cast_signed()];
    let body = "SELECT body FROM record WHERE tick = ?1";
    let mut body: Vec<u8> = file.query_row(body, place, |row| row.get(0)).expect("it is there");
    *body.last_mut().expect("a record has bytes") ^= 1;
    let flip = "UPDATE record SET body = ?2 WHERE tick = ?1";
    assert_eq!(file.execute(flip, (place[0], body)).expect("it can be written"), 1);

    let (code, said) = archive.on_store("replay", &["--zone", "meadow"]);
    assert_eq!(code, Some(2), "{said}");
    let named = format!("the record of tick {struck}");
    assert!(said.contains(&named) && said.contains("[record_damaged]"), "{said}");
    let (code, said) = archive.on_store("replay", &["--zone", "meadow", "--against", "whole"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("they differ at tick {struck}:")), "{said}");
    let before = (struck - 1).to_string();
    let (code, said) = archive.on_store("replay", &["--zone", "meadow", "--to", &before, "--against", "whole"]);
    assert_eq!(code, Some(0), "{said}");
}

/// Returns the position of the newest base.
fn newest_base(outline: &ZoneOutline) -> Option<Position> {
    let base = outline.base_of(outline.chain.len())?;
    Some(outline.chain[base].position)
}

/// An owner whose world drifts is killed, and another shard adopts its zone. Returns the new epoch, and the ticks
/// between which the drift began.
async fn adopted_divergent(archive: &mut Archive) -> (Epoch, (Tick, Tick)) {
    let plant = format!("diverge-after-chat={DRIFT}");
    let world = &mut archive.world;
    let owner = world.shard_configured_with(&[meadow()], ONCE, &["--plant", &plant]);
    let heir = world.shard_configured(&[], OFTEN);
    let (mut player, epoch, _) = playing(world).await;
    player.until_told_of(world.cluster.all[heir].addr).await;
    let begun = archive.outline().await.end();
    player.push(Intent::Say(DRIFT.to_owned()));
    let said = |notice: &Notice| matches!(notice, Notice::Confirmed { seq: 2 }).then_some(());
    player.until("the line is said", said).await;
    let begun_at_last = archive.outline().await.end();
    let ticks = |outline: &ZoneOutline| outline.end() >= begun_at_last + 50;
    archive.until("two digests after the drift", ticks).await;
    archive.world.cluster.kill(owner).expect("a kill");
    let (epoch, last) = archive.world.until_adopted(&meadow(), heir, epoch);
    let mut adoptions = archive.world.cluster.adoptions.iter();
    let adopted = adoptions.find(|a| a.report.epoch == epoch && a.process == heir);
    let report = &adopted.expect("it was waited for").report;
    assert!(!report.digest_equal, "{report:?}");
    assert_eq!(report.evidence, Some(EvidenceOutcome::Kept));
    (epoch, (begun, last))
}

#[tokio::test(flavor = "multi_thread")]
async fn divergent_zone_leaves_evidence_until_it_is_forgotten() {
    let mut archive = Archive::new(World::with_endless_leases().sabotaged());
    let (epoch, (begun, last)) = adopted_divergent(&mut archive).await;
    // A base, and three more: the two that an adopter could go back to are trimmed with the journal before them.
    for _ in 0..4 {
        let before = newest_base(&archive.outline().await);
        let is_newer = |outline: &ZoneOutline| newest_base(outline) != before;
        archive.until("another base", is_newer).await;
    }
    let chain = archive.outline().await.chain;
    assert!(chain.iter().all(|head| head.position.epoch > Epoch::FIRST));

    let evidence = archive.inspected()["evidence"].clone();
    let tick = evidence["tick"].as_u64().expect("a tick");
    assert!(tick > begun.0 && tick <= last.0, "{tick}, not in {begun} to {last}");
    let seen = (&evidence["why"], &evidence["epoch"], &evidence["is_exported"]);
    assert_eq!(seen, (&"divergent".into(), &epoch.0.into(), &false.into()));
    let evidence = |more: &[&str]| {
        let arguments = [&["--zone", "meadow", "--evidence"], more].concat();
        archive.on_store("export", &arguments)
    };
    let (code, said) = evidence(&["--forget"]);
    assert_eq!(code, Some(64), "it was never exported: {said}");
    let (code, said) = evidence(&["-o", "evidence"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = archive.run("replay", &["evidence"]);
    assert_eq!(code, Some(1), "{said}");
    let named = [
        format!("evidence: divergent at tick {tick}, found by epoch {epoch}"),
        format!("digests: that of tick {tick} differs"),
    ];
    assert!(named.iter().all(|named| said.contains(named)), "{said}");
    assert_eq!(archive.inspected()["evidence"]["is_exported"], true);
    let (code, said) = evidence(&["--forget"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(archive.inspected()["evidence"], Value::Null);
}

/// Gives the last stored record of a stopped owner another hash, as one of another history has. Whether that was
/// possible: an owner may be stopped inside a transaction.
fn forked(archive: &Archive) -> bool {
    let file = archive.world.cluster.world().join("zone-meadow.db");
    let file = rusqlite::Connection::open(file).expect("the zone's file");
    let fork = "UPDATE record SET hash = randomblob(32) WHERE tick = (SELECT max(tick) FROM record)";
    file.execute(fork, []).is_ok_and(|changed| changed == 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_of_a_forked_zone_leaves_what_it_had_in_memory() {
    let mut archive = Archive::new(World::with_endless_leases());
    let owner = archive.world.shard_configured(&[meadow()], ONCE);
    let (_player, epoch, _) = playing(&archive.world).await;
    archive.until("a second", |outline| outline.end() >= Tick(20)).await;
    loop {
        archive.world.cluster.signal(owner, Signal::STOP).expect("it lives");
        let is_forked = forked(&archive);
        archive.world.cluster.signal(owner, Signal::CONT).expect("it lives");
        if is_forked {
            break;
        }
    }
    let store = SqliteStore::open(&archive.world.cluster.world()).expect("the world");
    let until = tokio::time::Instant::now() + PATIENCE;
    let evidence = loop {
        if let Some(evidence) = store.evidence(&meadow()).await.expect("readable") {
            break evidence;
        }
        assert!(tokio::time::Instant::now() < until, "no evidence is kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((evidence.mark.why, evidence.mark.epoch), (EvidenceWhy::Forked, epoch));
    let (code, said) = archive.on_store("export", &["--zone", "meadow", "--evidence", "-o", "fork"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("zone meadow is forked at tick"), "{said}");
}
