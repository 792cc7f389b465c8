//! Joins, resumes, takeovers, and what waits in an outbox.

use everhold_protocol::{Epoch, GoldCause, ItemCause, SeqEvent};

use super::*;
use crate::game::rules::chance::{Purpose, roll};
use crate::game::settings::GameSettings;
use crate::limits::OUTBOX_EVENTS_MAX;

fn missed(outputs: &Outputs) -> Vec<SeqEvent> {
    let found = outputs.replies.iter().find_map(|(_, reply)| match reply {
        Reply::Attached(welcome) => Some(welcome.missed.clone()),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn new_character_is_told_what_it_starts_with() {
    let mut zone = zone(&[]);
    let outputs = zone.step(&[join(1)]);
    let events: Vec<Event> = missed(&outputs).into_iter().map(|event| event.event).collect();
    assert_eq!(
        events[0],
        Event::Gold {
            total: 100,
            delta: 100,
            cause: GoldCause::Start
        }
    );
    assert!(matches!(events[1], Event::ItemGained { cause: ItemCause::Start, item } if item.kind == 0));
    assert!(matches!(events[2], Event::ItemGained { cause: ItemCause::Start, item } if item.kind == 1));
    assert_eq!(told(&outputs), vec![], "an answer's events are not told twice");
}

#[test]
fn spawn_point_is_drawn_by_seed_tick_and_id() {
    let spawns = "spawns = [[2500, 2500], [100, 100], [4000, 4000]]";
    let mut zone = zone(&[("spawns = [[2_500, 2_500]]", spawns)]);
    zone.step(&[join(1)]);
    let id = session(&zone, 1);
    let place = zone
        .world
        .resource::<GameSettings>()
        .map
        .spawn_point(roll(7, Tick(2), id, Purpose::SpawnPoint));
    let seen = own(&mut zone, id).unwrap();
    assert_eq!((seen.x, seen.y), (place.x, place.y));
}

#[test]
fn ticket_is_good_for_one_login() {
    let mut zone = crowd(&[], 1);
    let outputs = zone.step(&[join_with(2, 1, 20)]);
    assert_eq!(refusals(&outputs), vec![(20, RefusalCode::TicketUsed)]);
    assert_eq!(zone.session_of(Account(2)), None);
}

#[test]
fn used_ticket_is_forgotten_when_it_has_expired() {
    let mut zone = crowd(&[], 1);
    assert_eq!(zone.world.resource::<state::Tickets>().used.len(), 1);
    idle(&mut zone, 1_000);
    assert_eq!(zone.world.resource::<state::Tickets>().used.len(), 0);
}

#[test]
fn second_login_of_an_account_takes_its_session_over() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert_eq!(own(&mut zone, id).unwrap().attach, AttachToken(1));
    let outputs = zone.step(&[join_with(1, 77, 99)]);
    assert_eq!(own(&mut zone, id).unwrap().attach, AttachToken(99));
    assert_eq!(outputs.replies[0], (AttachToken(1), Reply::Superseded(id)));
    assert_eq!(attached(&outputs), vec![(99, id)]);
    assert_eq!(zone.stats().sessions, 1);
}

#[test]
fn of_two_attaches_in_one_tick_only_the_later_is_answered_with_the_session() {
    let mut zone = zone(&[]);
    let outputs = zone.step(&[join_with(1, 1, 10), join_with(1, 2, 20)]);
    let id = session(&zone, 1);
    assert_eq!(outputs.replies[0], (AttachToken(10), Reply::Superseded(id)));
    assert_eq!(attached(&outputs), vec![(20, id)]);
}

#[test]
fn full_zone_refuses_a_new_account_and_keeps_its_ticket_good() {
    let mut zone = crowd(&[], 1);
    let tickets = &mut zone.world.resource_mut::<state::Tickets>().used;
    tickets.extend(
        (0..crate::limits::USED_TICKETS_MAX as u64)
            .map(|n| ([n.to_le_bytes(), [9; 8]].concat().try_into().unwrap(), Tick(9_999))),
    );
    let outputs = zone.step(&[join(2)]);
    assert_eq!(refusals(&outputs), vec![(2, RefusalCode::Full)]);
    zone.world.resource_mut::<state::Tickets>().used.clear();
    assert_eq!(attached(&zone.step(&[join(2)])).len(), 1);
}

#[test]
fn wrong_secret_and_unknown_session_are_refused_alike() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    let outputs = zone.step(&[resume(id, 200, 2, 0, 11), resume(EntityId(5), 1, 2, 0, 12)]);
    let unknown = RefusalCode::SessionUnknown;
    assert_eq!(refusals(&outputs), vec![(11, unknown), (12, unknown)]);
}

#[test]
fn returning_player_gets_exactly_the_events_it_does_not_have() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[detach(id, 1)]);
    let outputs = zone.step(&[resume(id, 1, 2, 2, 11)]);
    let seqs: Vec<u64> = missed(&outputs).iter().map(|event| event.seq).collect();
    assert_eq!(seqs, vec![3]);
}

#[test]
fn outbox_forgets_what_is_acknowledged_and_the_oldest_beyond_its_limit() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    let wish = Intent::PickUp { item: EntityId(1) };
    let wishes: Vec<_> = (1..=OUTBOX_EVENTS_MAX as u64 + 50)
        .map(|seq| intent(id, seq, wish.clone()))
        .collect();
    zone.step(&wishes);
    let outputs = zone.step(&[resume(id, 1, 2, 0, 11)]);
    assert_eq!(missed(&outputs).len(), OUTBOX_EVENTS_MAX);
    let last = missed(&outputs).last().unwrap().seq;
    zone.step(&[Input::EventAck {
        session: id,
        event_seq: last - 1,
    }]);
    assert_eq!(missed(&zone.step(&[resume(id, 2, 3, 0, 12)])).len(), 1);
}

#[test]
fn detach_of_an_earlier_connection_changes_nothing() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[join_with(1, 77, 99)]);
    zone.step(&[detach(id, 1)]);
    assert_eq!(zone.stats().attached, 1);
    zone.step(&[detach(id, 99)]);
    assert_eq!(zone.stats().attached, 0);
}

#[test]
fn away_player_stands_still_and_its_intents_change_nothing() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[intent(id, 1, go(127, 0)), detach(id, 1), intent(id, 2, go(0, 127))]);
    let before = seen(&mut zone, id);
    idle(&mut zone, 5);
    assert_eq!(seen(&mut zone, id), before);
    let outputs = zone.step(&[resume(id, 1, 2, 3, 11)]);
    assert!(matches!(&outputs.replies[0].1, Reply::Attached(welcome) if welcome.last_input_seq == 1));
}

#[test]
fn player_away_for_long_is_hidden_until_it_comes_back() {
    let mut zone = crowd(&[], 2);
    let id = session(&zone, 1);
    zone.step(&[detach(id, 1)]);
    idle(&mut zone, 19);
    assert!(seen(&mut zone, id).is_some());
    idle(&mut zone, 20);
    assert_eq!(seen(&mut zone, id), None);
    zone.step(&[resume(id, 1, 2, 3, 11)]);
    assert!(seen(&mut zone, id).is_some());
}

#[test]
fn new_epoch_sends_everybody_away_and_allocates_in_its_own_range() {
    let mut zone = crowd(&[], 2);
    let start = epoch_start(&config(&[]), Epoch(5));
    zone.step(&[start, join(3)]);
    assert_eq!(
        (zone.epoch(), zone.stats().attached, zone.stats().sessions),
        (Epoch(5), 1, 3)
    );
    assert_eq!(session(&zone, 3), EntityId::new(5 << 12 | 9, 1));
    assert!(session(&zone, 1) < session(&zone, 3));
}

#[test]
fn intents_are_applied_once_each_and_in_order() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[
        intent(id, 2, go(0, 127)),
        intent(id, 1, go(127, 0)),
        intent(id, 1, go(-127, 0)),
    ]);
    let now = own(&mut zone, id).unwrap();
    assert_eq!((now.last_input_seq, now.x, now.y), (1, 2_525, 2_500));
}

#[test]
fn quarantined_input_counts_as_applied_and_changes_nothing() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    zone.step(&[
        Input::Quarantine { session: id, seq: 1 },
        Input::Quarantine { session: id, seq: 2 },
    ]);
    let outputs = zone.step(&[
        intent(id, 1, go(127, 0)),
        intent(id, 2, Intent::Say("boo".into())),
        intent(id, 3, go(0, 127)),
    ]);
    let refused = |seq| rejected(id, seq, RejectReason::Quarantined);
    assert_eq!(told(&outputs), vec![refused(1), refused(2)]);
    let now = own(&mut zone, id).unwrap();
    assert_eq!((now.last_input_seq, now.x, now.y), (3, 2_500, 2_525));
    assert!(zone.world.resource::<state::Quarantined>().inputs.is_empty());
}

/// Steps the zone, and returns its residences.
fn residences(zone: &mut Zone, inputs: &[Input]) -> Vec<Residence> {
    zone.step(inputs).residences
}

#[test]
fn comings_goings_and_spent_tickets_are_told_as_they_happen() {
    let mut zone = zone(&[]);
    let spent = Residence::TicketSpent([1; 16], Tick(1_000));
    let taken = Residence::Taken(Account(1));
    assert_eq!(residences(&mut zone, &[join(1)]), [spent, taken.clone()]);
    assert_eq!(residences(&mut zone, &[join(1)]), [], "a refused login changes nothing");
    let id = session(&zone, 1);
    assert_eq!(residences(&mut zone, &[detach(id, 1)]), [], "an away player lingers");
    let gone: Vec<Residence> = (0..60).flat_map(|_| residences(&mut zone, &[])).collect();
    assert_eq!(gone, [Residence::Left(Account(1))]);
    assert_eq!(residences(&mut zone, &[resume(id, 1, 9, 0, 2)]), [taken]);
}

#[test]
fn residents_are_those_whose_characters_are_in_the_world() {
    let mut zone = crowd(&[], 3);
    assert_eq!(zone.residents(), [1, 2, 3].map(Account));
    let second = session(&zone, 2);
    zone.step(&[detach(second, 2)]);
    assert_eq!(zone.residents(), [1, 2, 3].map(Account));
    idle(&mut zone, 60);
    assert_eq!(zone.residents(), [1, 3].map(Account));
    let spent: Vec<u8> = zone.spent_tickets().iter().map(|(ticket, _)| ticket[0]).collect();
    assert_eq!(spent, [1, 2, 3]);
}

#[test]
fn what_is_no_intent_is_refused_under_its_number_and_the_next_is_applied() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    let invalid = |seq| Input::Invalid { session: id, seq };
    let outputs = zone.step(&[
        intent(id, 1, go(127, 0)),
        invalid(2),
        invalid(2),
        invalid(9),
        intent(id, 3, go(0, 127)),
    ]);
    assert_eq!(told(&outputs), vec![rejected(id, 2, RejectReason::Invalid)]);
    let now = own(&mut zone, id).unwrap();
    assert_eq!((now.last_input_seq, now.x, now.y), (3, 2_500, 2_525));
}

#[test]
fn counters_go_on_where_32_bits_end() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    let player = zone.world.resource::<index::EntityIndex>().entity(id).unwrap();
    let (seq, event_seq) = (u64::from(u32::MAX), u64::from(u32::MAX) + 7);
    zone.world.get_mut::<state::InputSeq>(player).unwrap().last = seq;
    zone.world.get_mut::<state::Outbox>(player).unwrap().event_seq = event_seq;
    let wish = |seq| intent(id, seq, Intent::PickUp { item: EntityId(1) });
    let outputs = zone.step(&[wish(seq + 1), wish(seq + 2)]);
    let seqs: Vec<u64> = outputs.events.iter().map(|(_, event)| event.seq).collect();
    assert_eq!(seqs, [event_seq + 1, event_seq + 2]);
    let base = zone.capture(Cut::Base).body;
    let mut restored = Zone::restore(config(&[]), &[&base]).unwrap();
    let now = own(&mut restored, id).unwrap();
    assert_eq!((now.last_input_seq, now.event_seq), (seq + 2, event_seq + 2));
}

#[test]
fn last_number_of_all_ends_a_sequence_and_harms_nobody() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    let player = zone.world.resource::<index::EntityIndex>().entity(id).unwrap();
    zone.world.get_mut::<state::InputSeq>(player).unwrap().last = u64::MAX - 1;
    zone.step(&[
        intent(id, u64::MAX, go(1, 0)),
        intent(id, 0, go(0, 1)),
        intent(id, 1, go(0, 1)),
    ]);
    assert_eq!(own(&mut zone, id).unwrap().last_input_seq, u64::MAX);
}

/// Has the player ask for so many things that are not there, in one tick.
fn fill_outbox(zone: &mut Zone, id: SessionId, events: u64) {
    let wish = |seq| intent(id, seq, Intent::PickUp { item: EntityId(1) });
    let from = own(zone, id).unwrap().last_input_seq;
    let wishes: Vec<_> = (from + 1..=from + events).map(wish).collect();
    zone.step(&wishes);
}

fn forgotten(outputs: &Outputs) -> (u64, u64) {
    let found = outputs.replies.iter().find_map(|(_, reply)| match reply {
        Reply::Attached(welcome) => Some((welcome.event_seq, welcome.events_forgotten)),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn attach_tells_which_events_are_forgotten() {
    let mut zone = crowd(&[], 1);
    let id = session(&zone, 1);
    assert_eq!(forgotten(&zone.step(&[resume(id, 1, 2, 0, 11)])), (3, 0));
    assert_eq!(forgotten(&zone.step(&[resume(id, 2, 3, 2, 12)])), (3, 2));
    fill_outbox(&mut zone, id, OUTBOX_EVENTS_MAX as u64 + 50);
    let outputs = zone.step(&[resume(id, 3, 4, 2, 13)]);
    assert_eq!(forgotten(&outputs), (OUTBOX_EVENTS_MAX as u64 + 53, 53));
    assert_eq!(missed(&outputs).first().unwrap().seq, 54);
}

#[test]
fn outbox_ends_with_rest_and_the_next_attach_says_so() {
    let mut zone = crowd(&[], 100);
    for account in 1..=100 {
        let id = session(&zone, account);
        fill_outbox(&mut zone, id, OUTBOX_EVENTS_MAX as u64);
    }
    let leaves: Vec<_> = (1..=100)
        .map(|account| detach(session(&zone, account), account))
        .collect();
    zone.step(&leaves);
    let full = zone.capture(Cut::Base).body.len();
    zone.capture_confirmed();
    idle(&mut zone, 40);
    let delta = zone.capture(Cut::Delta).body;
    zone.capture_confirmed();
    let base = zone.capture(Cut::Base).body;
    assert!(
        full > 100 * OUTBOX_EVENTS_MAX * 6 && base.len() * 5 < full,
        "{full} B, then {} B",
        base.len()
    );
    assert!(delta.len() * 5 < full, "{} B", delta.len());
    let last = OUTBOX_EVENTS_MAX as u64 + 3;
    let id = session(&zone, 1);
    let outputs = zone.step(&[resume(id, 1, 2, 3, 999)]);
    assert_eq!((forgotten(&outputs), missed(&outputs)), ((last, last), vec![]));
    fill_outbox(&mut zone, id, 1);
    assert_eq!(
        missed(&zone.step(&[resume(id, 2, 3, last, 1_000)]))
            .first()
            .unwrap()
            .seq,
        last + 1
    );
}
