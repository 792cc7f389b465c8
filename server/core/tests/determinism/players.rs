//! Random players: each tick they look at the scene and produce inputs, good ones and bad ones.

use std::collections::BTreeMap;

use everhold_core::ingress::{AttachToken, Birth, Input, Join, Resume};
use everhold_core::zone::{Outputs, Reply, Scene};
use everhold_protocol::{Account, EntityId, EntityKind, EntityView, Event, Heading, Intent, SessionId, Tick};

use crate::dice::Dice;

/// Accounts that ever join.
const ACCOUNTS: u64 = 24;

#[derive(Clone, Debug, Default)]
struct Player {
    session: Option<SessionId>,
    attached: Option<AttachToken>,
    secret: u64,
    secret_before: u64,
    last_seq: u64,
    event_seq: u64,
    items: Vec<EntityId>,
}

/// Counts of deeds that a history is expected to contain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) takeovers: u64,
    pub(crate) leaves_and_joins_in_one_tick: u64,
    pub(crate) resumes: u64,
    pub(crate) quarantined: u64,
    pub(crate) logouts: u64,
}

pub(crate) struct Players {
    dice: Dice,
    players: BTreeMap<u64, Player>,
    next_token: u64,
    next_ticket: u64,
    pub(crate) deeds: Deeds,
}

fn hash(secret: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&secret.to_le_bytes());
    hash
}

impl Players {
    pub(crate) fn new(seed: u64) -> Self {
        let players = (1..=ACCOUNTS).map(|account| (account, Player::default())).collect();
        Self {
            dice: Dice::new(seed),
            players,
            next_token: 1,
            next_ticket: 1,
            deeds: Deeds::default(),
        }
    }

    /// The inputs of one tick.
    pub(crate) fn act(&mut self, tick: Tick, scene: &Scene) -> Vec<Input> {
        let mut inputs = Vec::new();
        // Contested: several attached players want the same thing in the same tick.
        let wanted = self.dice.pick(&of_kind(scene, EntityKind::Item)).map(|item| item.id);
        for account in 1..=ACCOUNTS {
            let player = self.players[&account].clone();
            match (player.session, player.attached) {
                (Some(session), Some(token)) => {
                    self.act_attached(&mut inputs, account, session, token, (scene, wanted))
                }
                (Some(session), None) if self.dice.once_in(12) => self.resume(&mut inputs, account, session),
                (Some(_), None) if self.dice.once_in(40) => self.join(&mut inputs, account, tick),
                (None, _) if self.dice.once_in(25) => self.join(&mut inputs, account, tick),
                _ => {}
            }
        }
        inputs
    }

    /// All connections are lost: a new owner.
    pub(crate) fn lose_connections(&mut self) {
        self.players.values_mut().for_each(|player| player.attached = None);
    }

    /// Takes in the zone's replies and events.
    pub(crate) fn hear(&mut self, outputs: &Outputs) {
        for (token, reply) in &outputs.replies {
            if matches!(reply, Reply::Refused(_)) {
                let account = self.account_of(*token);
                let player = self.player(account);
                player.attached = player.attached.filter(|attached| attached != token);
            }
            let Reply::Attached(welcome) = reply else {
                continue;
            };
            let account = self.account_of(*token);
            let player = self.player(account);
            player.session = Some(welcome.session);
            if player.secret != token.0 {
                (player.secret_before, player.secret) = (player.secret, token.0);
            }
            player.last_seq = welcome.last_input_seq;
            player.event_seq = welcome.event_seq;
            player.items = welcome.own.items.iter().map(|item| item.uid).collect();
        }
        for (session, event) in &outputs.events {
            let player = self
                .players
                .values_mut()
                .find(|player| player.session == Some(*session));
            let player = player.expect("events go to sessions that were answered");
            player.event_seq = event.seq;
            match event.event {
                Event::ItemGained { item, .. } => player.items.push(item.uid),
                Event::ItemLost { item, .. } => player.items.retain(|uid| *uid != item.uid),
                _ => {}
            }
        }
    }

    fn player(&mut self, account: u64) -> &mut Player {
        self.players.get_mut(&account).expect("accounts are fixed")
    }

    fn account_of(&self, token: AttachToken) -> u64 {
        token.0 % 1_000
    }

    fn token(&mut self, account: u64) -> AttachToken {
        self.next_token += 1;
        AttachToken(self.next_token * 1_000 + account)
    }

    fn join(&mut self, inputs: &mut Vec<Input>, account: u64, tick: Tick) {
        let token = self.token(account);
        self.next_ticket += 1;
        // One in eight is a ticket that was used before, and is refused.
        let number = if self.next_ticket > 8 && self.dice.once_in(8) {
            self.next_ticket - 5
        } else {
            self.next_ticket
        };
        let fresh = number == self.next_ticket;
        let mut ticket = [0; 16];
        ticket[..8].copy_from_slice(&number.to_le_bytes());
        inputs.push(Input::Join(Join {
            account: Account(account),
            ticket,
            ticket_forget_tick: tick + 200,
            secret: hash(token.0),
            token,
            birth: Birth::Always,
        }));
        if fresh {
            let player = self.player(account);
            (player.attached, player.secret, player.secret_before) = (Some(token), token.0, token.0);
        }
    }

    fn resume(&mut self, inputs: &mut Vec<Input>, account: u64, session: SessionId) {
        let token = self.token(account);
        let choice = self.dice.below(8);
        let lag = self.dice.below(4);
        let player = self.player(account);
        let shown = match choice {
            0 => 999_999,
            1 => player.secret_before,
            _ => player.secret,
        };
        let event_seq = player.event_seq.saturating_sub(lag);
        let next_secret = hash(token.0);
        inputs.push(Input::Resume(Resume {
            session,
            secret: hash(shown),
            next_secret,
            event_seq,
            token,
        }));
        if choice != 0 {
            player.attached = Some(token);
            self.deeds.resumes += 1;
        }
    }

    fn act_attached(
        &mut self,
        inputs: &mut Vec<Input>,
        account: u64,
        session: SessionId,
        token: AttachToken,
        (scene, wanted): (&Scene, Option<EntityId>),
    ) {
        match self.dice.below(120) {
            0 => {
                inputs.push(Input::Detach { session, token });
                self.player(account).attached = None;
                if self.dice.once_in(2) {
                    self.resume(inputs, account, session);
                    self.deeds.leaves_and_joins_in_one_tick += 1;
                }
            }
            1 => {
                self.resume(inputs, account, session);
                self.deeds.takeovers += 1;
            }
            // The connection of an earlier attach ends: nothing happens.
            2 => inputs.push(Input::Detach {
                session,
                token: AttachToken(token.0 ^ 1),
            }),
            4 => {
                inputs.push(Input::Logout { session, token });
                self.player(account).attached = None;
                self.deeds.logouts += 1;
            }
            3 => {
                let seq = self.players[&account].last_seq + 1;
                inputs.push(Input::Quarantine { session, seq });
                self.deeds.quarantined += 1;
            }
            _ => {}
        }
        if self.dice.once_in(5) {
            let event_seq = self.players[&account].event_seq.saturating_sub(self.dice.below(3));
            inputs.push(Input::EventAck { session, event_seq });
        }
        for _ in 0..self.dice.below(3) {
            let intent = self.intent(account, session, (scene, wanted));
            self.send(inputs, account, session, intent);
        }
    }

    /// Mostly the next in order; now and then none at all, or a repeat or one out of order, which the zone ignores.
    fn send(&mut self, inputs: &mut Vec<Input>, account: u64, session: SessionId, intent: Intent) {
        let choice = self.dice.below(16);
        let player = self.player(account);
        if choice == 2 {
            player.last_seq += 1;
            let seq = player.last_seq;
            return inputs.push(Input::Invalid { session, seq });
        }
        let seq = match choice {
            0 => player.last_seq,
            1 => player.last_seq + 2,
            _ => {
                player.last_seq += 1;
                player.last_seq
            }
        };
        inputs.push(Input::Intent { session, seq, intent });
    }

    fn intent(&mut self, account: u64, session: SessionId, (scene, wanted): (&Scene, Option<EntityId>)) -> Intent {
        let owned = self.players[&account].items.clone();
        let here = scene.entities.iter().find(|entity| entity.id == session);
        let near = |kind| here.and_then(|here| nearest(scene, here, kind)).unwrap_or(EntityId(77));
        match self.dice.below(12) {
            0..=2 => {
                let (dx, dy) = (self.dice.below(179) as i16 - 89, self.dice.below(179) as i16 - 89);
                Intent::Move(Heading::new(dx as i8, dy as i8).expect("not longer than 127"))
            }
            3..=4 => Intent::Strike {
                target: near(EntityKind::Monster),
            },
            5 => Intent::Strike {
                target: near(EntityKind::Player),
            },
            6..=7 => Intent::PickUp {
                item: wanted.unwrap_or(EntityId(77)),
            },
            8 => Intent::PickUp {
                item: near(EntityKind::Item),
            },
            9 => Intent::GiveGold {
                to: near(EntityKind::Player),
                amount: self.dice.below(30) + 1,
            },
            10 => Intent::GiveItem {
                to: near(EntityKind::Player),
                item: self.dice.pick(&owned).copied().unwrap_or(EntityId(77)),
            },
            _ => Intent::Say("well met".into()),
        }
    }
}

fn of_kind(scene: &Scene, kind: EntityKind) -> Vec<EntityView> {
    let mut found: Vec<_> = scene
        .entities
        .iter()
        .filter(|entity| entity.kind == kind)
        .copied()
        .collect();
    found.sort_unstable_by_key(|entity| entity.id);
    found
}

fn nearest(scene: &Scene, here: &EntityView, kind: EntityKind) -> Option<EntityId> {
    let distance2 = |there: &EntityView| (there.x - here.x).pow(2) + (there.y - here.y).pow(2);
    let others = scene
        .entities
        .iter()
        .filter(|entity| entity.kind == kind && entity.id != here.id);
    others
        .min_by_key(|entity| (distance2(entity), entity.id))
        .map(|entity| entity.id)
}
