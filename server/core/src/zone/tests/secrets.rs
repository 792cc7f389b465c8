//! Resume secrets: each good once, with a grace for an answer that is lost; and the end of them all by a log-out or a
//! long rest.

use proptest::prelude::*;

use everhold_protocol::Epoch;

use super::*;
use crate::limits::UNHEARD_SECRETS_MAX;

/// Ticks for which the yard's players are in sight after they went, and for which their secrets are good after that.
const LINGER: u64 = 20;
const WINDOW: u64 = 400;

/// A yard in which no property waits for longer than secrets are good.
const PATIENT: [(&str, &str); 1] = [("resume_window_ms = 20_000", "resume_window_ms = 3_600_000")];

fn ack(session: SessionId) -> Input {
    Input::EventAck { session, event_seq: 0 }
}

/// Whether this secret attaches now.
fn attaches(zone: &mut Zone, id: SessionId, shown: u8, next: u8) -> bool {
    let outputs = zone.step(&[resume(id, shown, next, 0, 1_000 + u64::from(next))]);
    !attached(&outputs).is_empty()
}

#[test]
fn answer_may_be_lost_again_and_again() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    for next in 50..=50 + UNHEARD_SECRETS_MAX as u8 {
        assert!(attaches(&mut zone, id, 1, next), "{next}");
    }
    assert!(
        !attaches(&mut zone, id, 1, 99),
        "each answer is one more that somebody may have"
    );
    assert!(attaches(&mut zone, id, 50, 60), "the first answer came after all");
    for dead in [50 + UNHEARD_SECRETS_MAX as u8, 51, 1] {
        assert!(!attaches(&mut zone, id, dead, 99), "{dead}");
    }
    assert!(attaches(&mut zone, id, 60, 61));
}

#[test]
fn input_under_the_new_secret_ends_the_one_before() {
    let proofs: [fn(SessionId) -> Input; 4] = [
        |id| intent(id, 1, go(1, 0)),
        |id| intent(id, 1, Intent::PickUp { item: EntityId(1) }),
        |id| Input::Invalid { session: id, seq: 1 },
        ack,
    ];
    for proof in proofs {
        let mut zone = crowd(&[], 1);
        let id = session(&zone, 1);
        assert!(attaches(&mut zone, id, 1, 2));
        zone.step(&[proof(id)]);
        assert!(!attaches(&mut zone, id, 1, 9));
        assert!(attaches(&mut zone, id, 2, 3));
    }
}

#[test]
fn input_of_the_tick_of_an_attach_may_be_of_the_connection_before_it() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[ack(id)]);
    zone.step(&[resume(id, 1, 2, 0, 11), intent(id, 1, go(1, 0)), ack(id)]);
    assert!(attaches(&mut zone, id, 1, 3), "the answer may be lost all the same");
}

#[test]
fn client_whose_network_went_with_the_answer_comes_back_minutes_later() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    zone.step(&[detach(id, 1_002)]);
    idle(&mut zone, LINGER + WINDOW - 40);
    assert!(attaches(&mut zone, id, 1, 3), "nobody has used what the answer brought");
    idle(&mut zone, 10 * WINDOW);
    assert!(attaches(&mut zone, id, 1, 4), "nor while the connection lives");
    zone.step(&[ack(id)]);
    assert!(!attaches(&mut zone, id, 1, 9), "the answer has come");
}

#[test]
fn session_that_rests_for_longer_than_the_window_is_woken_by_a_ticket_alone() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[detach(id, 1)]);
    idle(&mut zone, LINGER + WINDOW - 40);
    assert!(attaches(&mut zone, id, 1, 2));
    zone.step(&[detach(id, 1_002)]);
    idle(&mut zone, LINGER + WINDOW + 40);
    assert!(!attaches(&mut zone, id, 2, 3) && !attaches(&mut zone, id, 1, 3));
    let base = zone.capture(Cut::Base).body;
    zone = Zone::restore(config(&[]), &[&base]).unwrap();
    zone.step(&[epoch_start(&config(&[]), Epoch(2))]);
    assert!(!attaches(&mut zone, id, 2, 3), "nor at another owner");
    assert_eq!(attached(&zone.step(&[join_with(1, 50, 60)])), vec![(60, id)]);
    assert!(attaches(&mut zone, id, 50, 61), "the ticket's secret is good");
}

#[test]
fn replay_of_a_spent_secret_does_not_lock_its_owner_out() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    // Somebody else has seen secret 1, and is quicker than the owner's first frame.
    assert!(attaches(&mut zone, id, 1, 66));
    assert!(attaches(&mut zone, id, 2, 3), "the owner comes back with what it has");
    assert!(!attaches(&mut zone, id, 66, 67) && !attaches(&mut zone, id, 1, 67));
}

#[test]
fn two_uses_of_one_secret_in_one_tick_are_answered_and_the_first_that_is_used_counts() {
    for (heard, void) in [(2, 3), (3, 2)] {
        let mut zone = crowd(&[], 1);
        let id = session(&zone, 1);
        let outputs = zone.step(&[resume(id, 1, 2, 0, 11), resume(id, 1, 3, 0, 12)]);
        assert_eq!(
            attached(&outputs),
            vec![(12, id)],
            "the later one speaks for the session"
        );
        assert!(attaches(&mut zone, id, heard, 4));
        assert!(!attaches(&mut zone, id, void, 9));
    }
}

#[test]
fn new_owner_knows_which_answer_may_be_lost() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    let base = zone.capture(Cut::Base).body;
    for (shown, dead) in [(1, None), (2, Some(1))] {
        let mut next = Zone::restore(config(&[]), &[&base]).unwrap();
        next.step(&[epoch_start(&config(&[]), Epoch(2))]);
        assert!(attaches(&mut next, id, shown, 3), "{shown}");
        next.step(&[ack(id)]);
        for dead in dead.into_iter().chain([1, 2]) {
            assert!(!attaches(&mut next, id, dead, 9), "{dead}");
        }
        assert!(attaches(&mut next, id, 3, 4));
    }
}

#[test]
fn log_out_ends_all_secrets_and_a_ticket_brings_the_character_back() {
    let mut zone = crowd(&[], 2);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    let token = AttachToken(1_002);
    let outputs = zone.step(&[Input::Logout { session: id, token }]);
    assert_eq!(outputs.replies, vec![(token, Reply::LoggedOut(id))]);
    assert!(!attaches(&mut zone, id, 1, 9) && !attaches(&mut zone, id, 2, 9));
    zone.step(&[epoch_start(&config(&[]), Epoch(2))]);
    assert!(!attaches(&mut zone, id, 2, 9), "nor does a new owner take them");
    assert_eq!(attached(&zone.step(&[join_with(1, 50, 60)])), vec![(60, id)]);
}

#[test]
fn dismissed_session_is_told_why_once_and_none_of_its_secrets_is_good() {
    let mut zone = crowd(&[], 2);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    let (account, code) = (Account(1), RefusalCode::Banned);
    let outputs = zone.step(&[Input::Dismiss { account, code }]);
    assert_eq!(outputs.replies, vec![(AttachToken(1_002), Reply::Dismissed(id, code))]);
    let repeated = zone.step(&[Input::Dismiss { account, code }]);
    assert!(repeated.replies.is_empty(), "nobody speaks for it");
    assert!(!attaches(&mut zone, id, 1, 9) && !attaches(&mut zone, id, 2, 9));
    assert_eq!(attached(&zone.step(&[join_with(1, 50, 60)])), vec![(60, id)]);
    let stranger = Account(99);
    let unknown = zone.step(&[Input::Dismiss {
        account: stranger,
        code,
    }]);
    assert!(unknown.replies.is_empty());
}

#[test]
fn logged_out_character_stays_in_sight_as_long_as_one_whose_connection_is_lost() {
    let mut zone = crowd(&[], 2);
    let (quitter, lost) = (session(&zone, 1), session(&zone, 2));
    let token = AttachToken(1);
    zone.step(&[
        Input::Logout {
            session: quitter,
            token,
        },
        detach(lost, 2),
    ]);
    for _ in 0..40 {
        assert_eq!(seen(&mut zone, quitter).is_some(), seen(&mut zone, lost).is_some());
        zone.step(&[]);
    }
    assert_eq!(seen(&mut zone, quitter), None);
}

#[test]
fn log_out_over_a_connection_that_was_replaced_changes_nothing() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert!(attaches(&mut zone, id, 1, 2));
    let token = AttachToken(1);
    assert_eq!(zone.step(&[Input::Logout { session: id, token }]).replies, vec![]);
    assert_eq!(zone.stats().attached, 1);
    assert!(attaches(&mut zone, id, 2, 3));
}

/// An event around one session.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The client asks with its secret, again and again: so many answers are lost, and it waits so many ticks after
    /// each.
    Ask {
        lost: u8,
        wait: u64,
    },
    /// A secret that the client had before is shown, by it or by another. (One whose answer was lost has never left the
    /// zone.)
    Replay(prop::sample::Index),
    /// The client sends a frame over its connection, if that still speaks for the session.
    Frame,
    /// The connection is lost.
    Lose,
    /// A new owner.
    Adopt,
    Wait(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..=UNHEARD_SECRETS_MAX as u8, 0..500_u64).prop_map(|(lost, wait)| Turn::Ask { lost, wait }),
        3 => any::<prop::sample::Index>().prop_map(Turn::Replay),
        3 => Just(Turn::Frame),
        1 => Just(Turn::Lose),
        1 => Just(Turn::Adopt),
        1 => (1..60_u64).prop_map(Turn::Wait),
    ]
}

/// One session, its honest client, and everybody who has seen an old secret.
struct Story {
    zone: Zone,
    id: SessionId,
    epoch: Epoch,
    /// All secrets that were ever given out, in order; a secret is its place here. A turn gives out nine at most, so a
    /// story has 27 of them.
    given: u8,
    /// The newest that the client has.
    held: u8,
    /// Those that it had before.
    past: Vec<u8>,
    /// The attach token of the client's connection, if it has one.
    speaks: Option<u64>,
    /// No secret below this one may attach.
    proven: u8,
}

impl Story {
    fn begin() -> Self {
        let zone = crowd(&PATIENT, 1);
        let id = session(&zone, 1);
        Self {
            zone,
            id,
            epoch: Epoch(1),
            given: 1,
            held: 1,
            past: Vec::new(),
            speaks: Some(1),
            proven: 1,
        }
    }

    /// Shows a secret; the answer carries the next number.
    fn show(&mut self, secret: u8) -> Option<(u8, u64)> {
        self.given += 1;
        let token = 1_000 + u64::from(self.given);
        let outputs = self.zone.step(&[resume(self.id, secret, self.given, 0, token)]);
        (!attached(&outputs).is_empty()).then_some((self.given, token))
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Ask { lost, wait } => {
                for _ in 0..lost {
                    let (_, token) = self.ask();
                    self.zone.step(&[detach(self.id, token)]);
                    idle(&mut self.zone, wait);
                }
                let (next, token) = self.ask();
                self.past.push(std::mem::replace(&mut self.held, next));
                self.speaks = Some(token);
            }
            Turn::Replay(_) if self.past.is_empty() => {}
            Turn::Replay(which) => {
                let old = *which.get(&self.past);
                let taken = self.show(old).is_some();
                assert!(
                    !(taken && old < self.proven),
                    "secret {old} attached after {} was used",
                    self.proven
                );
                if taken {
                    self.speaks = None;
                }
            }
            Turn::Frame => {
                self.zone.step(&[]);
                if self.speaks.is_some() {
                    self.zone.step(&[ack(self.id)]);
                    self.proven = self.held;
                }
            }
            Turn::Lose => {
                if let Some(token) = self.speaks.take() {
                    self.zone.step(&[detach(self.id, token)]);
                }
            }
            Turn::Adopt => {
                self.epoch = self.epoch.next().unwrap();
                let base = self.zone.capture(Cut::Base).body;
                self.zone = Zone::restore(config(&PATIENT), &[&base]).unwrap();
                self.zone.step(&[epoch_start(&config(&PATIENT), self.epoch)]);
                self.speaks = None;
            }
            Turn::Wait(ticks) => _ = idle(&mut self.zone, ticks),
        }
    }

    /// The client shows its newest secret: the answer, whether or not it comes.
    fn ask(&mut self) -> (u8, u64) {
        let answer = self.show(self.held).expect("the client's newest secret is good");
        self.proven = self.proven.max(self.held);
        answer
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn newest_secret_always_gets_in_and_no_older_one_after_its_first_use(
        turns in prop::collection::vec(turn(), 1..28),
    ) {
        let mut story = Story::begin();
        for turn in turns {
            story.take(turn);
        }
        prop_assert!(story.show(story.held).is_some());
    }
}
