//! A commit of a full zone to each archive, on the same machine in the same run: the characters that changed within an
//! interval, with their belongings, and the ledger. PostgreSQL is a process of its own on loopback that waits for its
//! disk. The largest zone's blob is written, too.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everhold_benches::brief;
use everhold_core::durability::archive::{
    Archive, ArchiveBlob, ArchiveCommit, Belonging, ColumnValue, CommitAnswer, CommitMark, CommitReport, LedgerRow,
    WallMs,
};
use everhold_core::durability::store::{Position, RecordHash};
use everhold_core::limits::ARCHIVE_PART_BYTES_MAX;
use everhold_core::ownership::Tenure;
use everhold_protocol::{Account, Epoch, Tick};
use everhold_store::conformance::{suite_character, suite_schema, tenure};
use everhold_store::postgres::{PostgresArchive, PostgresTarget};
use everhold_store::sqlite::SqliteArchive;
use everhold_testing::postgres::{Disk, PostgresServer};
use tokio::runtime::Runtime;

/// Characters of a commit.
const CHARACTERS: u64 = 3_000;
/// Belongings of each, one of which changes from commit to commit.
const BELONGINGS: u64 = 10;
/// Rows of the ledger in a commit.
const LEDGER_ROWS: u64 = 3_000;
/// The largest zone's blob, bytes.
const BLOB_BYTES: usize = 64 * ARCHIVE_PART_BYTES_MAX;

/// A zone that is held, and its last commit.
struct Zone {
    held: Tenure,
    last: Option<CommitMark>,
}

impl Zone {
    fn new(name: &str) -> Self {
        let name = name.parse().expect("a zone's name");
        Self {
            held: tenure(&name, 1, 1),
            last: None,
        }
    }

    /// Returns the next commit, without a row.
    fn next(&mut self) -> ArchiveCommit {
        let number = self.last.map_or(0, |last| last.number) + 1;
        let position = Position {
            epoch: Epoch(1),
            tick: Tick(number),
            hash: RecordHash::GENESIS,
        };
        let mark = CommitMark { position, number };
        ArchiveCommit {
            mark,
            parent: self.last.replace(mark),
            kept: Position {
                tick: Tick(number - 1),
                epoch: if number == 1 { Epoch::NONE } else { Epoch(1) },
                ..position
            },
            wall: WallMs(0),
            blob: None,
            characters: Vec::new(),
            ledger: Vec::new(),
            audit: Vec::new(),
        }
    }

    /// Returns the next commit of a full zone in which everybody has changed.
    fn next_full(&mut self) -> ArchiveCommit {
        let mut commit = self.next();
        let number = commit.mark.number.cast_signed();
        for account in 1..=CHARACTERS {
            let mut character = suite_character(account, 1, &self.held.zone);
            character.columns[0] = ColumnValue::Integer(number);
            let belonging = |id| Belonging {
                id: account * BELONGINGS + id,
                kind: 0,
                count: if id == 0 { number } else { 1 },
            };
            character.belongings = Some((0..BELONGINGS).map(belonging).collect());
            commit.characters.push(character);
        }
        commit.ledger = (0..LEDGER_ROWS).map(|seq| change(commit.mark.position, seq)).collect();
        commit
    }
}

fn change(position: Position, seq: u64) -> LedgerRow {
    LedgerRow {
        stamp: position.stamp(),
        seq: u32::try_from(seq).expect("few rows"),
        wall: WallMs(0),
        command: None,
        value: 0,
        thing: None,
        amount: 1,
        from: Some(Account(1 + seq % CHARACTERS)),
        to: Some(Account(1 + (seq + 1) % CHARACTERS)),
    }
}

async fn commit(archive: &impl Archive, held: &Tenure, commit: &ArchiveCommit) {
    let answer = archive.commit(held, commit).await.expect("answered");
    assert_eq!(answer, CommitAnswer::Done(CommitReport::default()));
}

async fn put_blob(archive: &impl Archive, zone: &mut Zone, body: &Bytes) {
    let mut next = zone.next();
    next.blob = ArchiveBlob::of_bytes(body.len() as u64);
    for index in 0..64 {
        let start = index as usize * ARCHIVE_PART_BYTES_MAX;
        let part = body.slice(start..start + ARCHIVE_PART_BYTES_MAX);
        let put = archive.put_blob_part(&zone.held, next.mark, index, part).await;
        put.expect("written");
    }
    commit(archive, &zone.held, &next).await;
}

fn bench(criterion: &mut Criterion, runtime: &Runtime, archive: &impl Archive, name: &str) {
    let mut group = criterion.benchmark_group("archive");
    group.sample_size(10);
    let mut zone = Zone::new("full");
    let held = zone.held.clone();
    // The first makes the rows that the others change.
    runtime.block_on(commit(archive, &held, &zone.next_full()));
    group.throughput(Throughput::Elements(CHARACTERS));
    group.bench_function(format!("{name}_{CHARACTERS}_characters"), |bencher| {
        bencher.iter_batched(
            || zone.next_full(),
            |next| runtime.block_on(commit(archive, &held, &next)),
            BatchSize::PerIteration,
        );
    });
    let body: Bytes = (0..BLOB_BYTES).map(|at| (at * at % 251) as u8).collect();
    let mut zone = Zone::new("large");
    group.throughput(Throughput::Bytes(BLOB_BYTES as u64));
    group.bench_function(format!("{name}_blob"), |bencher| {
        bencher.iter(|| runtime.block_on(put_blob(archive, &mut zone, &body)));
    });
    group.finish();
}

fn archive(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("archive.db");
    let sqlite = SqliteArchive::open(&path, suite_schema()).expect("an archive");
    bench(criterion, &runtime, &sqlite, "sqlite");
    let server = PostgresServer::start(Disk::Synced);
    let target = PostgresTarget::new(&server.url("postgres")).expect("a target");
    let postgres = runtime.block_on(PostgresArchive::open(&target, suite_schema()));
    bench(criterion, &runtime, &postgres.expect("an archive"), "postgres");
}

criterion_group! {
    name = benches;
    config = brief();
    targets = archive
}
criterion_main!(benches);
