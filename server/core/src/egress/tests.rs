//! The egress told by circumstances. A connection is a number here.

use everhold_protocol::{Account, EntityId, Event, OwnState, SeqEvent};

use super::*;
use crate::durability::gate::{Durability, Gate};

type Commands = Vec<EgressCommand<u64>>;

const ANNE: SessionId = EntityId(7);
const SECRET: [u8; SECRET_BYTES] = [9; SECRET_BYTES];

fn egress() -> Egress<u64> {
    Egress::new("meadow".parse().unwrap(), 20)
}

fn token(conn: u64) -> AttachToken {
    AttachToken(conn)
}

fn asks(egress: &mut Egress<u64>, conn: u64) {
    egress.handle_asked(token(conn), PendingAttach::new(conn, SECRET, false));
}

fn welcomed(conn: u64, session: SessionId, missed: Vec<SeqEvent>) -> (AttachToken, Reply) {
    let welcome = Welcome {
        session,
        last_input_seq: 3,
        event_seq: 4,
        events_forgotten: 1,
        own: own(),
        missed,
    };
    (token(conn), Reply::Attached(welcome))
}

fn own() -> OwnState {
    OwnState {
        x: 0,
        y: 0,
        hp: 1,
        gold: 0,
        items: Vec::new(),
    }
}

fn event(seq: u64) -> SeqEvent {
    SeqEvent {
        seq,
        tick: Tick(5),
        event: Event::Chat {
            from: ANNE,
            text: String::new(),
        },
    }
}

/// The tick that tells.
const TOLD: Tick = Tick(77);

fn peers() -> Vec<SocketAddr> {
    vec!["127.0.0.1:4002".parse().unwrap()]
}

/// Tells what the tick [`TOLD`] had to tell, and returns what follows.
fn tell(egress: &mut Egress<u64>, outputs: Outputs) -> Commands {
    let before = Tick(TOLD.0 - 1);
    let mut gate = Gate::<(), Outputs>::new(Durability::Store, Epoch(2), before, before);
    gate.hold(TOLD, (TOLD, ()), outputs);
    gate.handle_acknowledged(TOLD);
    egress.handle_told(gate.poll_told().expect("it is acknowledged"), peers);
    commands(egress)
}

fn tell_replies(egress: &mut Egress<u64>, replies: Vec<(AttachToken, Reply)>) -> Commands {
    let outputs = Outputs {
        replies,
        ..Outputs::default()
    };
    tell(egress, outputs)
}

fn commands(egress: &mut Egress<u64>) -> Commands {
    std::iter::from_fn(|| egress.poll_command()).collect()
}

fn leaves(egress: &mut Egress<u64>) -> Vec<Input> {
    let mut leaves = Vec::new();
    while let Some(leave) = egress.poll_leave().cloned() {
        leaves.push(leave);
        egress.handle_leave_taken();
    }
    leaves
}

/// An egress with one attached connection.
fn attached(conn: u64) -> Egress<u64> {
    let mut egress = egress();
    asks(&mut egress, conn);
    assert_eq!(
        tell_replies(&mut egress, vec![welcomed(conn, ANNE, Vec::new())]).len(),
        2
    );
    egress
}

/// A command in a word: which connection it is about, and what it does.
fn word(command: &EgressCommand<u64>) -> String {
    match command {
        EgressCommand::NoteResidences(tick, residences) => format!("residences {} of {tick}", residences.len()),
        EgressCommand::Bind { conn, session, epoch } => format!("bind {conn} {} {epoch}", session.0),
        EgressCommand::Close { conn, code, .. } => format!("close {conn} {code:?}"),
        EgressCommand::Send { conn, message } => match message {
            ServerMessage::Attached(attached) => format!("attached {conn} {}", attached.secret == SECRET),
            ServerMessage::Event(event) => format!("event {conn} {}", event.seq),
            ServerMessage::Peers(peers) => format!("peers {conn} {}", peers.len()),
            other => format!("{other:?}"),
        },
    }
}

fn words(commands: &[EgressCommand<u64>]) -> Vec<String> {
    commands.iter().map(word).collect()
}

#[test]
fn client_hears_attached_then_what_it_missed_then_what_is_new() {
    let mut egress = egress();
    asks(&mut egress, 1);
    let told = tell(
        &mut egress,
        Outputs {
            replies: vec![welcomed(1, ANNE, vec![event(3), event(4)])],
            events: vec![(ANNE, event(5)), (EntityId(8), event(1))],
            residences: vec![Residence::Taken(Account(1))],
            ..Outputs::default()
        },
    );
    assert_eq!(
        words(&told),
        [
            "residences 1 of 77",
            "bind 1 7 2",
            "attached 1 true",
            "event 1 3",
            "event 1 4",
            "event 1 5"
        ],
        "the event of a session that is away goes to no connection"
    );
    assert_eq!(egress.conn(ANNE), Some(&1));
}

#[test]
fn attached_says_all_that_the_zone_and_the_host_know() {
    let mut egress = egress();
    asks(&mut egress, 1);
    let told = tell_replies(&mut egress, vec![welcomed(1, ANNE, Vec::new())]);
    let attached = Attached {
        epoch: Epoch(2),
        zone: "meadow".parse().unwrap(),
        session: ANNE,
        secret: SECRET,
        tick_hz: 20,
        resumed_tick: TOLD,
        last_input_seq: 3,
        event_seq: 4,
        events_forgotten: 1,
        rewound_ticks: 0,
        own: own(),
        peers: peers(),
    };
    let message = ServerMessage::Attached(attached);
    assert_eq!(told[1], EgressCommand::Send { conn: 1, message });
}

#[test]
fn session_of_an_earlier_epoch_hears_once_of_the_ticks_that_are_lost() {
    let rewound_of = |egress: &mut Egress<u64>, conn, session| {
        asks(egress, conn);
        let told = tell_replies(egress, vec![welcomed(conn, session, Vec::new())]);
        let attached = told.into_iter().find_map(|command| match command {
            EgressCommand::Send {
                message: ServerMessage::Attached(attached),
                ..
            } => Some(attached.rewound_ticks),
            _ => None,
        });
        attached.expect("it is attached")
    };
    let mut egress = egress().rewound(9);
    let (older, newcomer) = (EntityId::new(1, 7), EntityId::new(2, 7));
    assert_eq!(rewound_of(&mut egress, 1, older), 9);
    assert_eq!(rewound_of(&mut egress, 2, older), 0, "it was told");
    assert_eq!(rewound_of(&mut egress, 3, newcomer), 0, "it has seen nothing of them");
    assert_eq!(rewound_of(&mut egress, 4, EntityId::new(1, 8)), 9);
}

#[test]
fn leaves_reach_the_zone_in_the_order_of_their_causes() {
    let mut egress = attached(1);
    asks(&mut egress, 2);
    egress.handle_log_out(token(1));
    egress.handle_gone(token(1));
    let (session, token) = (ANNE, token(1));
    let (logout, detach) = (Input::Logout { session, token }, Input::Detach { session, token });
    assert_eq!(leaves(&mut egress), [logout, detach]);
}

#[test]
fn leave_of_a_zone_that_is_over_is_dropped() {
    let mut egress = attached(1);
    egress.handle_gone(token(1));
    egress.handle_end();
    assert_eq!(egress.poll_leave(), None);
}

#[test]
fn connection_that_goes_away_before_its_answer_leaves_no_session_awake() {
    let mut egress = egress();
    asks(&mut egress, 1);
    egress.handle_gone(token(1));
    let told = tell_replies(&mut egress, vec![welcomed(1, ANNE, Vec::new())]);
    assert_eq!(told, []);
    let (session, token) = (ANNE, token(1));
    assert_eq!(leaves(&mut egress), [Input::Detach { session, token }]);
    assert_eq!(egress.conn(ANNE), None);
}

#[test]
fn attach_of_a_connection_that_is_gone_is_withdrawn_from_the_inbox() {
    let mut egress = egress();
    let pending = PendingAttach::new(1, SECRET, false);
    let (session, token) = (ANNE, token(1));
    let entry = pending.entry(Input::Detach { session, token });
    egress.handle_asked(token, pending);
    let drain = |entry: &InboxEntry| {
        let mut inputs = Vec::new();
        crate::ingress::inbox::Inbox::new().drain([entry.clone()].into_iter(), &mut inputs);
        inputs.len()
    };
    assert_eq!(drain(&entry), 1, "its turn may come");
    egress.handle_gone(token);
    assert_eq!(drain(&entry), 0, "its turn does not come any more");
}

#[test]
fn player_who_ends_the_session_while_its_attach_is_under_way_is_logged_out_when_it_attaches() {
    let mut egress = egress();
    asks(&mut egress, 1);
    egress.handle_log_out(token(1));
    assert_eq!(leaves(&mut egress), [], "there is no session yet");
    let told = tell_replies(&mut egress, vec![welcomed(1, ANNE, Vec::new())]);
    assert_eq!(words(&told), ["bind 1 7 2", "attached 1 true"]);
    let (session, token) = (ANNE, token(1));
    assert_eq!(leaves(&mut egress), [Input::Logout { session, token }]);
}

#[test]
fn logged_out_connection_stays_until_the_zone_has_answered() {
    let mut egress = attached(1);
    egress.handle_log_out(token(1));
    assert_eq!(commands(&mut egress), []);
    let (session, token) = (ANNE, token(1));
    assert_eq!(leaves(&mut egress), [Input::Logout { session, token }]);
    let told = tell_replies(&mut egress, vec![(token, Reply::LoggedOut(ANNE))]);
    assert_eq!(words(&told), ["close 1 Bye"]);
    egress.handle_gone(token);
    assert_eq!(leaves(&mut egress), [], "its session has left already");
}

#[test]
fn superseded_connection_is_closed_and_takes_nothing_from_the_newer_one() {
    let mut egress = attached(1);
    asks(&mut egress, 2);
    let replies = vec![(token(1), Reply::Superseded(ANNE)), welcomed(2, ANNE, Vec::new())];
    let told = tell_replies(&mut egress, replies);
    assert_eq!(words(&told), ["close 1 Superseded", "bind 2 7 2", "attached 2 true"]);
    egress.handle_gone(token(1));
    assert_eq!((leaves(&mut egress), egress.conn(ANNE)), (Vec::new(), Some(&2)));
}

#[test]
fn connection_whose_right_ends_before_it_was_answered_is_closed() {
    let ends: [(Reply, &str); 4] = [
        (Reply::Superseded(ANNE), "close 1 Superseded"),
        (Reply::LoggedOut(ANNE), "close 1 Bye"),
        (Reply::Dismissed(ANNE, RefusalCode::Banned), "close 1 Banned"),
        (Reply::Refused(RefusalCode::Full), "close 1 Full"),
    ];
    for (end, closed) in ends {
        let mut egress = egress();
        asks(&mut egress, 1);
        asks(&mut egress, 2);
        // The zone took both in one tick, and the second one speaks for the session.
        let replies = vec![(token(1), end), welcomed(2, ANNE, Vec::new())];
        let told = tell_replies(&mut egress, replies);
        assert_eq!(words(&told), [closed, "bind 2 7 2", "attached 2 true"]);
        egress.handle_gone(token(1));
        assert_eq!((leaves(&mut egress), egress.conn(ANNE)), (Vec::new(), Some(&2)));
        egress.handle_end();
        assert_eq!(words(&commands(&mut egress)), ["close 2 Stopping"], "it is closed once");
    }
}

#[test]
fn refused_attach_is_closed_with_its_code() {
    let mut egress = egress();
    asks(&mut egress, 1);
    let told = tell_replies(&mut egress, vec![(token(1), Reply::Refused(RefusalCode::TicketUsed))]);
    assert_eq!(words(&told), ["close 1 TicketUsed"]);
    assert_eq!(tell_replies(&mut egress, vec![welcomed(1, ANNE, Vec::new())]), []);
}

#[test]
fn peers_are_told_when_they_change_and_not_again() {
    let mut egress = attached(1);
    let peers: Vec<SocketAddr> = vec!["127.0.0.1:4001".parse().unwrap()];
    egress.handle_peers(peers.clone());
    assert_eq!(words(&commands(&mut egress)), ["peers 1 1"]);
    egress.handle_peers(peers);
    assert_eq!(commands(&mut egress), []);
}

#[test]
fn end_closes_who_is_attached_and_who_waits() {
    let mut egress = attached(1);
    asks(&mut egress, 2);
    egress.handle_end();
    assert_eq!(words(&commands(&mut egress)), ["close 1 Stopping", "close 2 Stopping"]);
    assert_eq!(egress.conn(ANNE), None);
    egress.handle_gone(token(1));
    assert_eq!(
        leaves(&mut egress),
        [],
        "the zone is over: it needs to hear of no leave"
    );
}

#[test]
fn leave_that_the_inbox_has_no_room_for_is_offered_again() {
    let mut egress = attached(1);
    egress.handle_gone(token(1));
    let (session, token) = (ANNE, token(1));
    let leave = Input::Detach { session, token };
    assert_eq!(egress.poll_leave(), Some(&leave));
    assert_eq!(egress.poll_leave(), Some(&leave), "it was not taken");
    egress.handle_leave_taken();
    assert_eq!(egress.poll_leave(), None);
}
