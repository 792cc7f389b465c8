//! Accounts that are looked up: where a character is born, where it lives, what is brought to its zone, and what a
//! client hears while store or archive do not answer.

use bytes::Bytes;

use super::*;
use crate::cluster::{AccountRecord, Home};
use crate::durability::archive::{ArchivedAccount, ArchivedCharacter, ArchivedPayload, CharacterPlace, WallMs};

/// A shard with a meadow, in a world with an archive or without one, whose store the test answers for.
fn asked(has_archive: bool) -> Shard {
    let mut shard = Shard::of(RoutingConfig {
        tick_hz: HZ,
        players_max: 10,
        has_archive,
    });
    shard.store_answers = false;
    assert!(shard.zone_up("meadow", 1).is_empty());
    shard
}

fn ask(shard: &mut Shard, conn: u64, account: u64) {
    let login = Login::Ticket(claims(account, conn));
    shard.routing.handle_login(at!(shard), token(conn), login);
    assert_eq!(shard.commands(), [format!("{conn} record 0")]);
}

fn answer(shard: &mut Shard, conn: u64, reply: AccountReply) -> Vec<String> {
    shard.routing.handle_account(at!(shard), token(conn), reply);
    shard.commands()
}

fn away() -> AccountReply {
    AccountReply::Unknown("gone".to_owned())
}

fn record(name: &str, generation: u64, payload: Option<&'static str>, is_certain: bool) -> AccountReply {
    AccountReply::Record(Some(AccountRecord {
        home: Home {
            zone: zone(name),
            generation,
        },
        payload: payload.map(|text| Bytes::from_static(text.as_bytes())),
        is_certain,
    }))
}

const NO_RECORD: AccountReply = AccountReply::Record(None);
const NOT_ARCHIVED: AccountReply = AccountReply::Archived(None);
const NO_HOME: AccountReply = AccountReply::HomeIs(None);

fn archived(name: &str, generation: u64, payload: ArchivedPayload, last: Option<&'static str>) -> AccountReply {
    AccountReply::Archived(Some(Box::new(ArchivedAccount::Character(Box::new(
        ArchivedCharacter {
            account: Account(2),
            generation,
            place: CharacterPlace::Zone(zone(name)),
            name: None,
            payload,
            last_payload: last.map(|text| Bytes::from_static(text.as_bytes())),
            columns: Vec::new(),
            stamp: None,
            wall: WallMs(0),
        },
    )))))
}

fn whole(text: &'static str) -> ArchivedPayload {
    ArchivedPayload::Whole(Bytes::from_static(text.as_bytes()))
}

/// Answers one question after the other, as they are asked, and returns all that is said meanwhile. An attach is said
/// with what it brings.
fn conversation(shard: &mut Shard, conn: u64, replies: Vec<AccountReply>) -> Vec<String> {
    let mut said = Vec::new();
    for reply in replies {
        shard.routing.handle_account(at!(shard), token(conn), reply);
        while let Some(command) = shard.routing.poll_command() {
            said.push(match &command {
                RoutingCommand::Attach(attach) => format!("{} with {}", line(&command), brought(attach)),
                _ => line(&command),
            });
        }
    }
    said
}

fn brought(attach: &Attach) -> String {
    let asked = crate::ownership::DataStamp {
        epoch: Epoch(1),
        tick: Tick(1_000),
    };
    match (&attach.lodge, &attach.request) {
        (Some(lodge), request) => {
            assert_eq!(lodge.asked, asked);
            if let AttachRequest::Join { birth, .. } = request {
                assert_eq!(*birth, Birth::Never, "it is brought, and not born");
            }
            let text = std::str::from_utf8(&lodge.payload).unwrap();
            format!("{text} above {}", lodge.generation)
        }
        (None, AttachRequest::Join { birth, .. }) => match birth {
            Birth::Allowed { asked: at, generation } => {
                assert_eq!(*at, asked);
                format!("a birth above {generation}")
            }
            birth => format!("{birth:?}"),
        },
        (None, AttachRequest::Resume { .. }) => "nothing".to_owned(),
    }
}

#[test]
fn new_character_is_born_where_its_ticket_says_and_an_old_one_goes_where_it_lives() {
    let table = [
        (NO_RECORD, "1 join meadow with a birth above 1"),
        (record("forest", 7, None, false), "1 join forest with a birth above 1"),
    ];
    for (home, said) in table {
        let mut shard = asked(false);
        shard.zone_up("forest", 1);
        ask(&mut shard, 1, 2);
        let heard = conversation(&mut shard, 1, vec![home, NO_RECORD, NO_HOME]);
        assert_eq!(heard.last().map(String::as_str), Some(said), "{heard:?}");
    }
}

#[test]
fn character_that_its_zone_has_is_not_looked_up() {
    let mut shard = asked(true);
    shard
        .meadow()
        .residents
        .handle_tick(Tick(1), &[Residence::Taken(Account(2))]);
    shard
        .routing
        .handle_login(at!(shard), token(1), Login::Ticket(claims(2, 1)));
    assert_eq!(conversation(&mut shard, 1, vec![away()]), ["1 join meadow with Never"]);
    shard
        .meadow()
        .residents
        .handle_tick(Tick(2), &[Residence::Left(Account(3))]);
    shard
        .routing
        .handle_login(at!(shard), token(2), Login::Ticket(claims(3, 2)));
    assert_eq!(
        conversation(&mut shard, 2, vec![away()]),
        ["2 join meadow with Never"],
        "it rests there"
    );
}

/// Has each table's answers given to a client whose zone does not have its character, and compares what is said last.
fn assert_brought(table: Vec<(Vec<AccountReply>, &str)>) {
    for (replies, expected) in table {
        let mut shard = asked(true);
        ask(&mut shard, 1, 2);
        assert_eq!(answer(&mut shard, 1, record("meadow", 5, None, false)), ["1 record 0"]);
        let (heard, questions) = (conversation(&mut shard, 1, replies.clone()), replies.len());
        assert_eq!(
            heard.last().map(String::as_str),
            Some(expected),
            "{replies:?}: {heard:?}"
        );
        assert!(
            heard.len() <= questions + 1,
            "nothing is asked that need not be: {heard:?}"
        );
    }
}

#[test]
fn what_is_brought_is_the_newest_that_store_and_archive_have() {
    let kept = || record("meadow", 5, Some("kept"), true);
    let doubtful = || record("meadow", 5, Some("kept"), false);
    let (absent, damaged) = (|| ArchivedPayload::Absent, || ArchivedPayload::Damaged);
    let table: Vec<(Vec<AccountReply>, &str)> = vec![
        (vec![kept()], "1 lodge join meadow with kept above 5"),
        (
            vec![doubtful(), archived("meadow", 7, whole("row"), None)],
            "1 lodge join meadow with row above 7",
        ),
        (
            vec![doubtful(), archived("meadow", 5, whole("row"), None)],
            "1 lodge join meadow with row above 5",
        ),
        (
            vec![doubtful(), archived("meadow", 3, whole("row"), None)],
            "1 lodge join meadow with kept above 5",
        ),
        // The archive went back to before the character's first row.
        (vec![doubtful(), NOT_ARCHIVED], "1 lodge join meadow with kept above 5"),
        // The zone's history was lost after the character had woken.
        (
            vec![doubtful(), archived("meadow", 6, absent(), None)],
            "1 lodge join meadow with kept above 6",
        ),
        (
            vec![NO_RECORD, archived("meadow", 6, absent(), Some("last"))],
            "1 lodge join meadow with last above 6",
        ),
        (
            vec![NO_RECORD, archived("meadow", 6, damaged(), Some("last"))],
            "1 lodge join meadow with last above 6",
        ),
        (
            vec![NO_RECORD, archived("meadow", 6, damaged(), None)],
            "1 refused Internal",
        ),
    ];
    assert_brought(table);
}

#[test]
fn character_is_born_only_if_store_and_archive_have_none() {
    let absent = || ArchivedPayload::Absent;
    let table: Vec<(Vec<AccountReply>, &str)> = vec![
        // The zone's history was lost from before its birth on.
        (
            vec![NO_RECORD, archived("meadow", 2, absent(), None)],
            "1 join meadow with a birth above 2",
        ),
        (
            vec![
                record("meadow", 1, None, false),
                NOT_ARCHIVED,
                AccountReply::Reserved,
                NO_HOME,
            ],
            "1 join meadow with a birth above 1",
        ),
        (
            vec![
                NO_RECORD,
                NOT_ARCHIVED,
                AccountReply::Taken,
                archived("meadow", 1, absent(), None),
            ],
            "1 join meadow with a birth above 1",
        ),
        (
            vec![
                NO_RECORD,
                AccountReply::Archived(Some(Box::new(ArchivedAccount::Deleted {
                    account: Account(2),
                    generation: 8,
                }))),
                AccountReply::Reserved,
                NO_HOME,
            ],
            "1 join meadow with a birth above 9",
        ),
    ];
    assert_brought(table);
}

#[test]
fn account_that_another_shard_was_quicker_with_goes_there() {
    let mut shard = asked(true);
    shard.zone_up("forest", 1);
    ask(&mut shard, 1, 2);
    let heard = conversation(
        &mut shard,
        1,
        vec![
            NO_RECORD,
            NOT_ARCHIVED,
            NO_RECORD,
            NOT_ARCHIVED,
            AccountReply::Taken,
            archived("forest", 1, ArchivedPayload::Absent, None),
            record("forest", 1, None, false),
            archived("forest", 1, ArchivedPayload::Absent, None),
        ],
    );
    let expected = [
        "1 archive 0",
        "1 record 0",
        "1 archive 0",
        "1 reserve meadow 1 0",
        "1 archive 0",
        "1 record 0",
        "1 archive 0",
        "1 join forest with a birth above 1",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn archive_that_is_away_means_waiting_and_then_a_refusal_and_never_a_birth() {
    let mut shard = asked(true);
    ask(&mut shard, 1, 2);
    assert_eq!(answer(&mut shard, 1, NO_RECORD), ["1 archive 0"]);
    for _ in 0..8 {
        assert_eq!(answer(&mut shard, 1, away()), ["1 archive 250"]);
    }
    assert_eq!(answer(&mut shard, 1, away()), ["report gone", "1 refused Internal"]);
    // Also if the store knows the zone, and the zone does not have the character.
    ask(&mut shard, 2, 3);
    assert_eq!(answer(&mut shard, 2, record("meadow", 4, None, false)), ["2 record 0"]);
    assert_eq!(answer(&mut shard, 2, record("meadow", 4, None, false)), ["2 archive 0"]);
    for _ in 0..8 {
        assert_eq!(answer(&mut shard, 2, away()), ["2 archive 250"]);
    }
    assert_eq!(answer(&mut shard, 2, away()), ["report gone", "2 refused Internal"]);
    // Nor does it count as a player any more.
    assert_eq!(shard.routing.zones[&meadow()].players, 0);
}

#[test]
fn character_at_rest_comes_back_by_its_secret_too() {
    let mut shard = asked(true);
    let login = Login::Resume(ResumeClaim {
        account: Account(1),
        zone: meadow(),
        session: SessionId::new(1, 2),
        secret: [7; 32],
        epoch: Epoch(1),
        event_seq: 9,
    });
    shard.routing.handle_login(at!(shard), token(1), login);
    assert_eq!(shard.commands(), ["1 record 0"]);
    let heard = conversation(&mut shard, 1, vec![record("meadow", 5, Some("kept"), true)]);
    assert_eq!(heard, ["1 lodge resume meadow with kept above 5"]);
}

#[test]
fn client_goes_nowhere_before_its_home_is_known() {
    let mut shard = Shard::new(10);
    shard.store_answers = false;
    ask(&mut shard, 1, 2);
    assert!(shard.zone_up("meadow", 1).is_empty());
    shard.advance(TICKET_GOOD_S * 10);
    assert!(shard.pulse().is_empty(), "its ticket was heard in time");
    shard.routing.handle_views(at!(shard), &[], None);
    assert!(shard.turns().is_empty());
}

#[test]
fn store_that_does_not_answer_is_asked_nine_times_before_the_login_is_refused() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    for _ in 0..8 {
        assert_eq!(answer(&mut shard, 1, away()), ["1 record 250"]);
    }
    assert_eq!(answer(&mut shard, 1, away()), ["report gone", "1 refused Internal"]);
}

#[test]
fn store_that_answers_at_last_lets_the_login_go_on() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    answer(&mut shard, 1, away());
    assert_eq!(
        answer(&mut shard, 1, NO_RECORD),
        ["1 record 0"],
        "now for the character"
    );
    assert_eq!(answer(&mut shard, 1, NO_RECORD), ["1 home meadow 1 0"]);
    assert_eq!(answer(&mut shard, 1, away()), ["1 home meadow 1 250"]);
    assert_eq!(answer(&mut shard, 1, NO_HOME), ["1 join meadow"]);
}

#[test]
fn record_that_cannot_be_read_is_not_asked_for_again() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    let refused = answer(&mut shard, 1, AccountReply::of_store_error(&StoreError::Lost));
    assert_eq!(refused, ["report the zone's data set is gone", "1 refused Internal"]);
}

#[test]
fn look_up_of_a_client_that_left_attaches_nothing() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    assert!(shard.gone(1).is_empty());
    assert!(answer(&mut shard, 1, NO_RECORD).is_empty());
    // Nor does that of one that was let in already.
    ask(&mut shard, 2, 3);
    assert_eq!(answer(&mut shard, 2, NO_RECORD), ["2 record 0"]);
    assert_eq!(shard.routing.zones[&meadow()].players, 1);
    assert!(shard.gone(2).is_empty());
    assert_eq!(shard.routing.zones[&meadow()].players, 0);
    assert!(answer(&mut shard, 2, NO_RECORD).is_empty());
}

#[test]
fn zone_that_ends_while_a_character_is_looked_up_leaves_its_client_waiting_for_the_next_owner() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    assert_eq!(answer(&mut shard, 1, NO_RECORD), ["1 record 0"]);
    assert_eq!(shard.zone_ended("meadow", 1), ["forget meadow"]);
    assert!(
        answer(&mut shard, 1, NO_RECORD).is_empty(),
        "what was asked for is of another zone's tick"
    );
    assert_eq!(shard.zone_up("meadow", 2), ["1 record 0"]);
    let heard = [NO_RECORD, NO_HOME].map(|reply| answer(&mut shard, 1, reply));
    assert_eq!(heard[1], ["1 join meadow"]);
}

#[test]
fn player_that_logs_out_while_its_character_is_looked_up_is_logged_out_when_it_is_there() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    assert_eq!(answer(&mut shard, 1, NO_RECORD), ["1 record 0"]);
    assert!(shard.logout(1).is_empty());
    assert_eq!(answer(&mut shard, 1, NO_RECORD), ["1 home meadow 1 0"]);
    assert_eq!(answer(&mut shard, 1, NO_HOME), ["1 join meadow leave"]);
    assert_eq!(shard.routing.zones[&meadow()].players, 0);
}

#[test]
fn later_login_of_an_account_takes_the_place_of_one_whose_home_is_being_looked_up() {
    let mut shard = asked(false);
    ask(&mut shard, 1, 2);
    let login = Login::Ticket(claims(2, 2));
    shard.routing.handle_login(at!(shard), token(2), login);
    assert_eq!(shard.commands(), ["1 refused Superseded", "2 record 0"]);
    assert!(answer(&mut shard, 1, NO_RECORD).is_empty());
    assert_eq!(answer(&mut shard, 2, NO_RECORD), ["2 record 0"]);
}
