//! Snapshots: the newest is shown, and purse and inventory are checked against it.

use everhold_protocol::client::Notice;
use everhold_protocol::limits::INVENTORY_ITEMS_MAX;
use everhold_protocol::{EntityId, Event, Item, ItemCause, OwnState, SeqEvent, SnapshotHeader, Tick, value_digest};

use super::script::{Attach, Script, gold, header, own, sword};

fn worth(tick: Tick, event_seq: u64, gold: u64, items: &[Item]) -> SnapshotHeader {
    SnapshotHeader {
        event_seq,
        value_digest: value_digest(gold, items),
        ..header(1, tick)
    }
}

fn mismatches(notices: &[Notice]) -> usize {
    notices
        .iter()
        .filter(|notice| matches!(notice, Notice::ValueMismatch { .. }))
        .count()
}

#[test]
fn duplicate_and_late_snapshots_are_not_shown() {
    let (mut script, conn) = Script::attached();
    for tick in [102, 101, 102, 103, 100].map(Tick) {
        script.snapshot(conn, header(1, tick));
    }
    let tick = |notice: &Notice| {
        if let Notice::Snapshot { header, .. } = notice {
            header.tick
        } else {
            Tick(0)
        }
    };
    let shown: Vec<_> = script.take_notices().iter().map(tick).collect();
    assert_eq!(shown, [Tick(102), Tick(103)]);
    assert_eq!(
        (script.client.mirror().tick, script.client.mirror().own.hp),
        (Tick(103), 99)
    );
}

#[test]
fn snapshot_of_the_attachs_own_tick_is_shown_once() {
    let (mut script, conn) = Script::attached();
    script.snapshot(conn, header(1, Tick(100)));
    script.snapshot(conn, header(1, Tick(100)));
    assert_eq!(script.take_notices().len(), 1);
}

#[test]
fn snapshots_that_overtake_their_attach_are_shown_after_it() {
    let (mut script, _, [(first, _), (second, _)]) = Script::parked();
    script.snapshot(first, header(2, Tick(300)));
    script.snapshot(first, header(2, Tick(301)));
    script.snapshot(second, header(2, Tick(999)));
    assert_eq!(script.take_notices(), [], "nobody speaks for the session yet");
    script.control(first, Attach::epoch(2).message());
    let notices = script.take_notices();
    assert!(
        matches!(
            notices[..],
            [Notice::Attached { .. }, Notice::Snapshot { header: one, .. }, Notice::Snapshot { header: two, .. }]
                if (one.tick, two.tick) == (Tick(300), Tick(301))
        ),
        "{notices:?}"
    );
}

#[test]
fn early_snapshot_of_another_epoch_than_the_attach_is_not_shown() {
    let (mut script, _, [(first, _), _]) = Script::parked();
    script.snapshot(first, header(2, Tick(900)));
    script.control(first, Attach::epoch(3).message());
    assert!(matches!(script.take_notices()[..], [Notice::Attached { .. }]));
    assert_eq!(script.client.mirror().tick, Tick(300));
}

#[test]
fn purse_that_agrees_is_not_remarked() {
    let (mut script, conn) = Script::attached();
    script.snapshot(conn, worth(Tick(101), 0, 50, &[sword()]));
    script.event(conn, gold(1, 75));
    script.snapshot(conn, worth(Tick(102), 1, 75, &[sword()]));
    let lost = Event::ItemLost {
        item: sword(),
        cause: ItemCause::GiftTo(Default::default()),
    };
    script.event(
        conn,
        SeqEvent {
            seq: 2,
            tick: Tick(103),
            event: lost,
        },
    );
    script.snapshot(conn, worth(Tick(103), 2, 75, &[]));
    assert_eq!(mismatches(&script.take_notices()), 0);
}

#[test]
fn purse_that_differs_is_told_once() {
    let (mut script, conn) = Script::attached();
    script.event(conn, gold(1, 75));
    for tick in (101..105).map(Tick) {
        script.snapshot(conn, worth(tick, 1, 76, &[sword()]));
    }
    let told: Vec<_> = script.take_notices();
    assert!(told.contains(&Notice::ValueMismatch {
        tick: Tick(101),
        event_seq: 1
    }));
    assert_eq!(mismatches(&told), 1);
}

#[test]
fn inventory_out_of_order_is_put_in_order() {
    let mut script = Script::start();
    let conn = script.greeted_at(1);
    let shield = Item {
        uid: EntityId::new(1, 3),
        kind: 9,
    };
    let own = OwnState {
        items: vec![sword(), shield],
        ..own()
    };
    script.control(
        conn,
        Attach {
            own,
            ..Attach::epoch(1)
        }
        .message(),
    );
    script.snapshot(conn, worth(Tick(101), 0, 50, &[shield, sword()]));
    assert_eq!(mismatches(&script.take_notices()), 0);
}

#[test]
fn mirror_holds_no_more_items_than_an_inventory() {
    let (mut script, conn) = Script::attached();
    for seq in 1..=100 {
        let item = Item {
            uid: EntityId::new(2, seq as u32),
            kind: 1,
        };
        let event = Event::ItemGained {
            item,
            cause: ItemCause::PickedUp,
        };
        script.event(
            conn,
            SeqEvent {
                seq,
                tick: Tick(100),
                event,
            },
        );
    }
    assert_eq!(script.client.mirror().own.items.len(), INVENTORY_ITEMS_MAX);
}

#[test]
fn lost_item_is_seen_by_the_digest() {
    let (mut script, conn) = Script::attached();
    script.snapshot(conn, worth(Tick(101), 0, 50, &[]));
    assert_eq!(mismatches(&script.take_notices()), 1);
}

#[test]
fn purse_is_not_checked_while_events_are_under_way() {
    let (mut script, conn) = Script::attached();
    script.snapshot(conn, worth(Tick(101), 1, 75, &[sword()]));
    script.event(conn, gold(1, 75));
    script.event(conn, gold(2, 80));
    script.snapshot(conn, worth(Tick(102), 1, 75, &[sword()]));
    assert_eq!(mismatches(&script.take_notices()), 0);
}

#[test]
fn missed_events_must_lead_to_what_the_next_owner_says() {
    for (total, expected) in [(60, 0), (61, 1)] {
        let (mut script, conn) = Script::attached();
        script.disconnected(conn, None);
        let (next, _) = script.connect();
        script.connected(next);
        let own = OwnState { gold: 60, ..own() };
        script.control(
            next,
            Attach {
                event_seq: 2,
                own,
                ..Attach::epoch(2)
            }
            .message(),
        );
        script.event(next, gold(1, 55));
        assert_eq!(script.client.mirror().own.gold, 60, "the attach was exact already");
        script.event(next, gold(2, total));
        assert_eq!(mismatches(&script.take_notices()), expected, "{total}");
    }
}

#[test]
fn purse_that_changed_without_an_event_is_seen_at_the_attach() {
    let (mut script, conn) = Script::attached();
    script.disconnected(conn, None);
    let (next, _) = script.connect();
    script.connected(next);
    let own = OwnState { gold: 49, ..own() };
    script.control(
        next,
        Attach {
            own,
            ..Attach::epoch(2)
        }
        .message(),
    );
    assert_eq!(mismatches(&script.take_notices()), 1);
}

#[test]
fn garbage_from_the_owner_is_counted() {
    let (mut script, conn) = Script::attached();
    for bytes in [&[][..], &[0xff; 40], &[1, 2, 3]] {
        script.client.handle_datagram(script.now, conn, bytes);
    }
    assert_eq!(script.client.malformed_datagrams(), 3);
}
