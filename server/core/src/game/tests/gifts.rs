//! Gifts of gold and items, and chat.

use everhold_protocol::limits::INVENTORY_ITEMS_MAX;
use everhold_protocol::{GoldCause, Item, ItemCause};

use super::*;

fn belongings(zone: &mut Zone, session: SessionId) -> Belongings {
    let entity = zone.world().resource::<EntityIndex>().entity(session).unwrap();
    zone.world().get::<Belongings>(entity).unwrap().clone()
}

fn move_away(zone: &mut Zone, session: SessionId) {
    let entity = zone.world().resource::<EntityIndex>().entity(session).unwrap();
    zone.world().entity_mut(entity).insert(Body { x: 0, y: 0 });
}

fn gold(to: EntityId, amount: u64) -> Intent {
    Intent::GiveGold { to, amount }
}

#[test]
fn gift_of_gold_is_told_to_both() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let outputs = zone.step(&[intent(a, 1, gold(b, 30))]);
    let given = Event::Gold {
        total: 70,
        delta: -30,
        cause: GoldCause::GiftTo(b),
    };
    let got = Event::Gold {
        total: 130,
        delta: 30,
        cause: GoldCause::GiftFrom(a),
    };
    assert_eq!(told(&outputs), vec![(a, given), (b, got)]);
}

#[test]
fn gift_of_an_item_moves_it_and_the_value_digests_follow() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let bread = belongings(&mut zone, a).items[0];
    let outputs = zone.step(&[intent(a, 1, Intent::GiveItem { to: b, item: bread.uid })]);
    let lost = Event::ItemLost {
        item: bread,
        cause: ItemCause::GiftTo(b),
    };
    let gained = Event::ItemGained {
        item: bread,
        cause: ItemCause::GiftFrom(a),
    };
    assert_eq!(told(&outputs), vec![(a, lost), (b, gained)]);
    for session in [a, b] {
        let has = belongings(&mut zone, session);
        let digest = everhold_protocol::snapshot::value_digest(has.gold, &has.items);
        assert_eq!(own(&mut zone, session).unwrap().value_digest, digest);
    }
}

#[test]
fn gifts_that_cannot_be_are_refused_with_the_reason() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let not_mine = belongings(&mut zone, b).items[0].uid;
    let outputs = zone.step(&[
        intent(a, 1, gold(b, 101)),
        intent(a, 2, gold(EntityId(3), 1)),
        intent(a, 3, gold(a, 1)),
        intent(a, 4, Intent::GiveItem { to: b, item: not_mine }),
    ]);
    use RejectReason::{NoTarget, NotEnoughGold, NotYours};
    let reasons = [(1, NotEnoughGold), (2, NoTarget), (3, NoTarget), (4, NotYours)];
    assert_eq!(told(&outputs), reasons.map(|(seq, reason)| rejected(a, seq, reason)));
}

#[test]
fn gift_out_of_reach_is_refused() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    move_away(&mut zone, b);
    let outputs = zone.step(&[intent(a, 1, gold(b, 1))]);
    assert_eq!(told(&outputs), vec![rejected(a, 1, RejectReason::TooFar)]);
}

#[test]
fn full_inventory_refuses_a_gift_and_the_giver_keeps_it() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let entity = zone.world().resource::<EntityIndex>().entity(b).unwrap();
    let full: Vec<Item> = (1..=INVENTORY_ITEMS_MAX as u64)
        .map(|uid| Item {
            uid: EntityId(uid),
            kind: 0,
        })
        .collect();
    *zone.world().get_mut::<Belongings>(entity).unwrap().items = full;
    let before = belongings(&mut zone, a);
    let outputs = zone.step(&[intent(
        a,
        1,
        Intent::GiveItem {
            to: b,
            item: before.items[0].uid,
        },
    )]);
    assert_eq!(told(&outputs), vec![rejected(a, 1, RejectReason::Full)]);
    assert_eq!(belongings(&mut zone, a), before);
}

#[test]
fn gift_to_an_away_player_waits_in_its_outbox() {
    let mut zone = crowd(&[], 2);
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let outputs = zone.step(&[
        Input::Detach {
            session: b,
            token: AttachToken(2),
        },
        intent(a, 1, gold(b, 5)),
    ]);
    assert_eq!(told(&outputs).len(), 1);
    let outputs = zone.step(&[join_with(2, 60, 60)]);
    let (_, Reply::Attached(welcome)) = &outputs.replies[0] else {
        panic!("{outputs:?}")
    };
    assert_eq!((welcome.own.gold, welcome.missed.last().unwrap().seq), (105, 4));
}

#[test]
fn chat_reaches_everybody_attached_and_waits_for_nobody() {
    let mut zone = crowd(&[], 3);
    let [a, b, c] = [1, 2, 3].map(|account| session(&zone, account));
    zone.step(&[Input::Detach {
        session: c,
        token: AttachToken(3),
    }]);
    let outputs = zone.step(&[intent(a, 1, Intent::Say("hail".into()))]);
    let line = Event::Chat {
        from: a,
        text: "hail".into(),
    };
    assert_eq!(told(&outputs), vec![(a, line.clone()), (b, line)]);
    let outputs = zone.step(&[join_with(3, 60, 60)]);
    assert!(matches!(&outputs.replies[0].1, Reply::Attached(welcome) if welcome.event_seq == 3));
}

#[test]
fn chat_is_heard_as_far_as_it_reaches() {
    let mut zone = crowd(&[("reach_cm = 3_000", "reach_cm = 500")], 2);
    let [a, b] = [1, 2].map(|account| session(&zone, account));
    let hearers = |outputs: &Outputs| told(outputs).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let say = |seq| intent(a, seq, Intent::Say("hail".into()));
    let walk = intent(b, 1, Intent::Move(Heading::new(127, 0).unwrap()));
    assert_eq!(hearers(&zone.step(&[say(1), walk])), [a, b]);
    // 25 cm a tick: beyond the reach, and the speaker's cooldown is over.
    idle(&mut zone, 21);
    assert_eq!(hearers(&zone.step(&[say(2)])), [a]);
}

#[test]
fn chat_keeps_its_cooldown_and_its_lines_per_tick() {
    let mut zone = crowd(&[], 3);
    let [a, b, c] = [1, 2, 3].map(|account| session(&zone, account));
    let say = |session, seq| intent(session, seq, Intent::Say("hail".into()));
    let outputs = zone.step(&[say(a, 1), say(a, 2), say(b, 1), say(c, 1)]);
    let refused: Vec<_> = told(&outputs)
        .into_iter()
        .filter(|(_, e)| matches!(e, Event::Rejected { .. }))
        .collect();
    let cooldown = RejectReason::Cooldown;
    assert_eq!(refused, vec![rejected(a, 2, cooldown), rejected(c, 1, cooldown)]);
    idle(&mut zone, 19);
    assert_eq!(told(&zone.step(&[say(a, 3)])).len(), 3);
}

/// A move of value: kind of value, amount, giver, taker, and the number of the intent.
type Told = (u32, u64, Option<u64>, Option<u64>, Option<u64>);

/// The moves of value of a tick.
fn moves(outputs: &Outputs) -> Vec<Told> {
    let number = |account: Option<Account>| account.map(|account| account.0);
    let moves = outputs.moves.iter();
    let moves = moves.map(|told| {
        let seq = told.command.map(|(_, seq)| seq);
        (told.value, told.amount, number(told.from), number(told.to), seq)
    });
    moves.collect()
}

#[test]
fn value_that_comes_into_being_and_value_that_changes_hands_is_a_move_each() {
    let mut zone = zone(&[]);
    let born = zone.step(&[join(1), join(2)]);
    let begin_with = |account| {
        [
            (0, 100, None, Some(account), None),
            (1, 1, None, Some(account), None),
            (1, 1, None, Some(account), None),
        ]
    };
    assert_eq!(moves(&born), [begin_with(1), begin_with(2)].concat());
    let (a, b) = (session(&zone, 1), session(&zone, 2));
    let bread = belongings(&mut zone, a).items[0];
    let gifts = [gold(b, 30), Intent::GiveItem { to: b, item: bread.uid }, gold(b, 1_000)];
    let gifts: Vec<Input> = (1..).zip(gifts).map(|(seq, gift)| intent(a, seq, gift)).collect();
    let outputs = zone.step(&gifts);
    // The third is more than there is: nothing moves.
    let expected = [(0, 30, Some(1), Some(2), Some(1)), (1, 1, Some(1), Some(2), Some(2))];
    assert_eq!(moves(&outputs), expected);
    assert_eq!(outputs.moves[1].thing, Some(bread.uid));
    assert_eq!(moves(&zone.step(&[])), [], "a move is told once");
}
