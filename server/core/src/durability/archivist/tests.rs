//! An archivist against an archive in memory: what is committed, and what becomes of it when answers are late, lost, or
//! of another owner.

mod handing_on;

use everhold_protocol::EntityId;

use super::*;
use crate::durability::archive::{ArchiveBlob, ArchivedBlob, LedgerRow, WallMs};
use crate::durability::store::RecordHash;
use crate::limits::{ARCHIVE_COMMIT_ROWS_MAX, ARCHIVE_PART_BYTES_MAX, LEDGER_ROWS_MAX};
use crate::ownership::Nonce;
use crate::zone::facts::{CharacterFacts, Fact, Possession};

const EPOCH: Epoch = Epoch(3);

fn zone() -> ZoneName {
    "meadow".parse().unwrap()
}

fn position(epoch: Epoch, tick: u64) -> Position {
    Position {
        epoch,
        tick: Tick(tick),
        hash: RecordHash([tick as u8; 32]),
    }
}

fn mark(epoch: Epoch, tick: u64, number: u64) -> CommitMark {
    CommitMark {
        position: position(epoch, tick),
        number,
    }
}

fn character(account: u64, coins: i64) -> CutCharacter {
    let facts = CharacterFacts {
        columns: vec![Fact::Integer(coins)],
        possessions: vec![Possession {
            id: account,
            kind: 0,
            count: 1,
        }],
    };
    CutCharacter {
        account: Account(account),
        generation: 2,
        payload: None,
        facts,
    }
}

fn coins(amount: u64, from: Option<u64>, to: Option<u64>) -> ValueMove {
    ValueMove {
        value: 0,
        thing: None,
        amount,
        from: from.map(Account),
        to: to.map(Account),
        command: Some((EntityId(1), 1)),
    }
}

fn thing(number: u64, from: Option<u64>, to: Option<u64>) -> ValueMove {
    ValueMove {
        thing: Some(EntityId(number)),
        ..coins(1, from, to)
    }
}

fn away() -> ArchiveError {
    ArchiveError::Unavailable("a time-out".to_owned())
}

struct Rig {
    archivist: Archivist,
    now: Instant,
}

impl Rig {
    /// An archivist that has found this last commit, and goes on from tick 100 of the epoch before.
    fn after(last: Option<CommitMark>) -> Self {
        Self::with(archived(last), PendingMoves::default())
    }

    /// The same, with these moves of owners before.
    fn with(found: ArchivedZone, moves: PendingMoves) -> Self {
        let config = ArchivistConfig {
            zone: zone(),
            interval_ticks: 600,
            tick_hz: 20,
        };
        let mut rig = Self {
            archivist: Archivist::new(config, EPOCH, position(Epoch(2), 100), moves),
            now: Instant::now(),
        };
        assert_eq!(rig.poll(), Some(ArchivistCommand::Fence));
        assert_eq!(rig.poll(), None, "one is under way at a time");
        rig.archivist.handle_fenced(rig.now, Ok(()));
        assert_eq!(rig.poll(), Some(ArchivistCommand::Look));
        rig.archivist.handle_zone(rig.now, Ok(Some(found)));
        rig
    }

    fn poll(&mut self) -> Option<ArchivistCommand> {
        self.archivist.poll_command(self.now)
    }

    /// Cuts a base after this tick, and makes it the head.
    fn cut(&mut self, tick: u64, body: &[u8], characters: Vec<CutCharacter>) {
        let facts = CutFacts {
            wall: WallMs(1_000_000),
            characters,
        };
        let at = position(EPOCH, tick);
        self.archivist.handle_cut(at, Bytes::copy_from_slice(body), facts);
        self.archivist.handle_head(at);
    }

    /// Writes the parts of the blob, and returns the commit.
    fn commit(&mut self) -> ArchiveCommit {
        loop {
            match self.poll() {
                Some(ArchivistCommand::PutPart { .. }) => self.archivist.handle_part_put(self.now, Ok(())),
                Some(ArchivistCommand::Commit(commit)) => return commit,
                other => panic!("{other:?}"),
            }
        }
    }

    fn done(&mut self) {
        let done = CommitAnswer::Done(CommitReport::default());
        self.archivist.handle_committed(self.now, Ok(done));
    }

    fn notices(&mut self) -> Vec<ArchivistNotice> {
        std::iter::from_fn(|| self.archivist.poll_notice()).collect()
    }
}

fn archived(last: Option<CommitMark>) -> ArchivedZone {
    ArchivedZone {
        zone: zone(),
        fence: (EPOCH, Nonce(1)),
        last,
        blobs: Vec::new(),
    }
}

fn accounts(commit: &ArchiveCommit) -> Vec<u64> {
    commit.characters.iter().map(|row| row.account.0).collect()
}

#[test]
fn commit_holds_blob_changed_characters_and_the_moves_up_to_its_tick() {
    let mut rig = Rig::after(None);
    rig.archivist
        .handle_moves(Tick(110), vec![coins(5, Some(1), Some(2)), coins(6, None, Some(1))]);
    rig.archivist.handle_moves(Tick(130), vec![coins(7, None, Some(2))]);
    rig.cut(120, b"state", vec![character(1, 10), character(2, 20)]);
    let first = rig.commit();
    assert_eq!((first.mark, first.parent), (mark(EPOCH, 120, 1), None));
    assert_eq!(first.kept, Position::GENESIS);
    assert_eq!(first.blob, Some(ArchiveBlob { parts: 1, bytes: 5 }));
    assert_eq!(accounts(&first), [1, 2]);
    // Ten ticks before the cut are half a second.
    let rows: Vec<_> = first
        .ledger
        .iter()
        .map(|row| (row.stamp.tick.0, row.seq, row.amount, row.wall))
        .collect();
    assert_eq!(rows, [(110, 0, 5, WallMs(999_500)), (110, 1, 6, WallMs(999_500))]);
    rig.done();
    assert_eq!(rig.archivist.lag_ticks(Tick(150)), 30);

    rig.cut(720, b"later", vec![character(1, 10), character(2, 21)]);
    let second = rig.commit();
    assert_eq!((second.mark, second.parent), (mark(EPOCH, 720, 2), Some(first.mark)));
    assert_eq!(second.kept, first.mark.position);
    assert_eq!(accounts(&second), [2], "the other is what it was");
    assert_eq!(second.ledger.len(), 1);
}

#[test]
fn base_is_no_commit_before_it_is_the_head() {
    let mut rig = Rig::after(None);
    let at = position(EPOCH, 120);
    rig.archivist
        .handle_cut(at, Bytes::from_static(b"state"), CutFacts::default());
    assert_eq!(rig.poll(), None);
    rig.archivist.handle_head(position(EPOCH, 119));
    assert_eq!(rig.poll(), None, "another one is the head");
    rig.archivist.handle_head(at);
    assert!(rig.poll().is_some());
}

#[test]
fn first_commit_keeps_what_both_histories_have() {
    let table = [
        // The archive is behind the adopted history, at its end, or ahead of what is left of it.
        (mark(Epoch(2), 60, 9), position(Epoch(2), 60)),
        (mark(Epoch(2), 100, 9), position(Epoch(2), 100)),
        (mark(Epoch(2), 140, 9), position(Epoch(2), 100)),
    ];
    for (last, kept) in table {
        let mut rig = Rig::after(Some(last));
        rig.cut(101, b"state", Vec::new());
        let commit = rig.commit();
        assert_eq!((commit.parent, commit.kept), (Some(last), kept));
        rig.done();
        rig.cut(102, b"state", Vec::new());
        assert_eq!(rig.commit().kept, position(EPOCH, 101));
    }
}

#[test]
fn first_commit_keeps_no_more_than_an_epoch_before_it_did_that_never_committed() {
    let last = mark(Epoch(1), 90, 9);
    let mut moves = PendingMoves::default();
    let (epoch, root) = (Epoch(2), position(Epoch(1), 80));
    moves.forks.note(Fork { epoch, root });
    let mut rig = Rig::with(archived(Some(last)), moves);
    let section = rig.archivist.section(None).expect("of a base");
    let (_, section) = section::split(&section.into()).expect("a section");
    let own = (EPOCH, position(Epoch(2), 100));
    let told: Vec<_> = section.forks.iter().map(|fork| (fork.epoch, fork.root)).collect();
    assert_eq!(told, [(epoch, root), own]);
    rig.cut(101, b"state", Vec::new());
    assert_eq!(rig.commit().kept, root);
}

#[test]
fn commit_without_an_answer_is_sent_again_as_it_was_ever_less_often() {
    let mut rig = Rig::after(None);
    rig.cut(120, b"state", vec![character(1, 10)]);
    let first = rig.commit();
    let mut waits = Vec::new();
    for _ in 0..9 {
        rig.archivist.handle_committed(rig.now, Err(away()));
        assert!(
            !rig.archivist.holds_up_a_stop(),
            "an archive that is away holds up no stop"
        );
        // What comes meanwhile waits: it is a commit of its own.
        rig.cut(130, b"later", vec![character(1, 11)]);
        let ms = (1..).find(|ms| rig.archivist.back_off.unwrap().1 <= rig.now + Duration::from_millis(*ms));
        let ms = ms.unwrap();
        rig.now += Duration::from_millis(ms - 1);
        assert_eq!(rig.poll(), None);
        rig.now += Duration::from_millis(1);
        assert_eq!(rig.poll(), Some(ArchivistCommand::Commit(first.clone())));
        waits.push(ms);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    rig.archivist.handle_committed(rig.now, Ok(CommitAnswer::Duplicate));
    let second = rig.commit();
    assert_eq!((second.mark, second.parent), (mark(EPOCH, 130, 2), Some(first.mark)));
    let notices = rig.notices();
    assert!(
        matches!(
            notices[..],
            [ArchivistNotice::Failed(..), ArchivistNotice::Confirmed(_)]
        ),
        "{notices:?}"
    );
}

#[test]
fn commit_of_an_archive_that_went_back_is_made_anew_with_everything() {
    let mut rig = Rig::after(None);
    rig.cut(120, b"state", vec![character(1, 10), character(2, 20)]);
    rig.commit();
    rig.done();
    rig.archivist.handle_moves(Tick(121), vec![coins(5, Some(1), Some(2))]);
    rig.cut(130, b"later", vec![character(1, 5), character(2, 20)]);
    let given_up = rig.commit();
    assert_eq!(accounts(&given_up), [1]);
    rig.archivist
        .handle_committed(rig.now, Ok(CommitAnswer::Moved { last: None }));
    assert_eq!(rig.notices(), [ArchivistNotice::Moved(None)]);
    let anew = rig.commit();
    assert_eq!((anew.mark, anew.parent), (mark(EPOCH, 130, 3), None));
    assert_eq!(accounts(&anew), [1, 2], "the archive forgot both");
    assert_eq!(anew.ledger, given_up.ledger);
}

#[test]
fn commit_that_is_refused_is_made_anew_after_another_look() {
    let mut rig = Rig::after(None);
    rig.cut(120, b"state", vec![character(1, 10)]);
    let refused = rig.commit();
    let damaged = ArchiveError::Corrupt("a part is missing".to_owned());
    rig.archivist.handle_committed(rig.now, Err(damaged));
    rig.now += RETRY.0;
    assert_eq!(rig.poll(), Some(ArchivistCommand::Look));
    rig.archivist.handle_zone(rig.now, Ok(Some(archived(None))));
    let Some(ArchivistCommand::PutPart { mark: of, .. }) = rig.poll() else {
        panic!("its parts are written anew")
    };
    assert_eq!(of.number, refused.mark.number + 1);
}

#[test]
fn fence_is_raised_again_before_a_look_is_repeated() {
    let mut rig = Rig::after(None);
    rig.cut(120, b"state", vec![character(1, 10)]);
    rig.commit();
    // The archive went back between part and commit: it has forgotten the parts, and the fence.
    let damaged = ArchiveError::Corrupt("a part is missing".to_owned());
    rig.archivist.handle_committed(rig.now, Err(damaged));
    rig.now += RETRY.0;
    assert_eq!(rig.poll(), Some(ArchivistCommand::Look));
    rig.archivist.handle_zone(rig.now, Err(away()));
    rig.now += 2 * RETRY.0;
    assert_eq!(rig.poll(), Some(ArchivistCommand::Fence));
    rig.archivist.handle_fenced(rig.now, Ok(()));
    assert_eq!(rig.poll(), Some(ArchivistCommand::Look));
    rig.archivist.handle_zone(rig.now, Ok(Some(archived(None))));
    assert_eq!(accounts(&rig.commit()), [1]);
}

#[test]
fn nothing_is_asked_after_a_newer_owner() {
    let mut rig = Rig::after(None);
    rig.cut(120, b"state", Vec::new());
    rig.commit();
    rig.archivist
        .handle_committed(rig.now, Err(ArchiveError::Fenced { epoch: Epoch(4) }));
    assert_eq!(rig.notices(), [ArchivistNotice::Fenced]);
    rig.cut(130, b"later", Vec::new());
    rig.now += Duration::from_secs(60);
    assert_eq!(rig.poll(), None);
    assert!(!rig.archivist.holds_up_a_stop());
}

#[test]
fn base_is_wanted_once_in_an_interval_and_only_while_the_archive_takes_commits() {
    let mut rig = Rig::after(None);
    let wanted: Vec<u64> = (100..2_000)
        .filter(|tick| rig.archivist.poll_base(Tick(*tick)))
        .collect();
    assert_eq!(wanted, [100, 700, 1_300, 1_900]);
    rig.cut(2_000, b"state", Vec::new());
    rig.commit();
    rig.archivist.handle_committed(rig.now, Err(away()));
    assert!(!(2_500..5_000).any(|tick| rig.archivist.poll_base(Tick(tick))));
}

#[test]
fn many_rows_are_divided_among_commits_and_the_last_has_the_blob() {
    let mut rig = Rig::after(None);
    let characters = ARCHIVE_COMMIT_ROWS_MAX as u64;
    let body = vec![7; 2 * ARCHIVE_PART_BYTES_MAX + 1];
    rig.cut(
        120,
        &body,
        (1..=characters).map(|account| character(account, 1)).collect(),
    );
    let (first, second) = (rig.commit(), {
        rig.done();
        let mut parts = Vec::new();
        loop {
            match rig.poll() {
                Some(ArchivistCommand::PutPart { index, bytes, .. }) => {
                    parts.push((index, bytes.len()));
                    rig.archivist.handle_part_put(rig.now, Ok(()));
                }
                Some(ArchivistCommand::Commit(commit)) => {
                    let part = ARCHIVE_PART_BYTES_MAX;
                    assert_eq!(parts, [(0, part), (1, part), (2, 1)]);
                    break commit;
                }
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(first.blob, None);
    assert_eq!(second.blob.map(|blob| blob.parts), Some(3));
    assert_eq!((second.parent, second.kept), (Some(first.mark), first.mark.position));
    let rows = first.characters.len() + second.characters.len();
    assert_eq!(rows as u64, characters);
    rig.done();
    assert_eq!(rig.archivist.lag_ticks(Tick(120)), 0);
}

/// Returns the gain of each account in value 0 by these rows, and the last taker of each thing.
fn balances(rows: &[LedgerRow]) -> (BTreeMap<u64, i64>, BTreeMap<u64, Option<u64>>) {
    let (mut coins, mut things) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        if let Some(thing) = row.thing {
            things.insert(thing, row.to.map(|to| to.0));
            continue;
        }
        for (account, amount) in [(row.from, -row.amount), (row.to, row.amount)] {
            if let Some(account) = account {
                *coins.entry(account.0).or_default() += amount;
            }
        }
    }
    coins.retain(|_, balance| *balance != 0);
    (coins, things)
}

#[test]
fn moves_beyond_the_bound_become_what_they_add_up_to() {
    let mut rig = Rig::after(None);
    let mut all = Vec::new();
    let mut tick = 100;
    while all.len() <= LEDGER_ROWS_MAX {
        tick += 1;
        let (a, b) = (tick % 7, tick % 5 + 10);
        let moves = vec![
            coins(tick, Some(a), Some(b)),
            coins(3, None, Some(a)),
            thing(tick % 11, Some(a), Some(b)),
        ];
        let mut ledger = PendingMoves::default();
        ledger.add(EPOCH, Tick(tick), moves.clone());
        all.extend(ledger.take_up_to(Tick(tick)));
        let is_merged = rig.archivist.handle_moves(Tick(tick), moves);
        assert_eq!(is_merged, all.len() > LEDGER_ROWS_MAX);
    }
    assert_eq!(
        rig.archivist.section(Some(Tick(tick - 1))),
        None,
        "a delta would tell of more than its ticks"
    );
    assert_eq!(rig.notices(), [ArchivistNotice::Merged(all.len() as u64)]);
    rig.cut(tick, b"state", Vec::new());
    let rows = rig.commit().ledger;
    assert!(rows.len() < 40, "{}", rows.len());
    assert_eq!(balances(&rows), balances(&all));
    let seqs: Vec<u32> = rows.iter().map(|row| row.seq).collect();
    assert!(
        seqs.windows(2).all(|pair| pair[0] < pair[1]),
        "each has a key of its own"
    );
}
