//! The entry of a shard into the directory: only if every living shard there has keys in common with it. It reads no
//! clock and asks no authority.
//!
//! ```text
//!         ┌─── Pause ◄─── it is not known whether a shard with other keys lives
//!         ▼                 ▲
//!  ───► Look ───────────────┼──► none lives ──► Announce ──► Look ──► Withdraw the dead ──► Enter
//!                           │                                 └──► one has come ──► Withdraw this shard ──┐
//!                           └──► one lives ──► Refuse ◄──────────────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::fingerprint::{KeyFingerprints, KeyKind};
use super::grant::Nonce;
use super::key_check::{Joining, KeyCheck};
use super::membership::ShardView;

/// While it is not known whether a shard with other keys lives, it is looked at so often in a ttl: twice as often as it
/// announces itself.
const LOOKS_PER_TTL: u32 = 8;

/// A command to the driver of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryCommand {
    /// Read the directory, and report it to [`Entry::handle_shards`].
    Look,
    /// Write a line of the log: it takes a while.
    LogWaiting,
    /// Wait so long.
    Pause(Duration),
    /// Announce this shard.
    Announce,
    /// Take a shard out of the directory: a dead one, or this one.
    Withdraw(Nonce),
    /// This shard is in the directory, and the entry is over.
    Enter,
    /// This shard may not enter: the living shard at this address has other keys of this kind.
    Refuse {
        /// The address at which that shard serves players.
        addr: SocketAddr,
        /// The kind of key that differs.
        kind: KeyKind,
    },
}

/// A shard on its way into the directory. What a command does is done before the next one is asked for.
#[derive(Debug)]
pub struct Entry {
    me: Nonce,
    check: KeyCheck,
    ttl: Duration,
    commands: VecDeque<EntryCommand>,
    /// Shards that were watched for a ttl and are dead; known when this one announces itself.
    dead: Option<Vec<Nonce>>,
    has_logged: bool,
}

impl Entry {
    /// Begins by a look. A shard whose beat stands still for a ttl is dead: `ttl`, or its own if that is longer.
    #[must_use]
    pub fn new(me: Nonce, keys: KeyFingerprints, ttl: Duration) -> Self {
        Self {
            me,
            check: KeyCheck::new(keys, ttl),
            ttl,
            commands: [EntryCommand::Look].into(),
            dead: None,
            has_logged: false,
        }
    }

    /// The next thing to do; `None` after a look that was not reported, or at the end.
    pub fn poll_command(&mut self) -> Option<EntryCommand> {
        self.commands.pop_front()
    }

    /// The directory, as it was asked for at `now`. After this shard was announced it looks once more: of two shards
    /// with different keys that come in the same moment, at least one sees the other.
    pub fn handle_shards(&mut self, now: Duration, shards: &[ShardView]) {
        if let Some(dead) = self.dead.take() {
            return self.conclude(dead, shards);
        }
        match self.check.judge(now, shards) {
            Joining::Join { dead } => {
                self.dead = Some(dead);
                self.commands.extend([EntryCommand::Announce, EntryCommand::Look]);
            }
            Joining::Watch => {
                if !std::mem::replace(&mut self.has_logged, true) {
                    self.commands.push_back(EntryCommand::LogWaiting);
                }
                let pause = EntryCommand::Pause(self.ttl / LOOKS_PER_TTL);
                self.commands.extend([pause, EntryCommand::Look]);
            }
            Joining::Refuse { addr, kind } => self.commands.push_back(EntryCommand::Refuse { addr, kind }),
        }
    }

    fn conclude(&mut self, dead: Vec<Nonce>, shards: &[ShardView]) {
        if let Some((addr, kind)) = self.check.intruder(shards) {
            let withdraw = EntryCommand::Withdraw(self.me);
            self.commands.extend([withdraw, EntryCommand::Refuse { addr, kind }]);
            return;
        }
        self.commands.extend(dead.into_iter().map(EntryCommand::Withdraw));
        self.commands.push_back(EntryCommand::Enter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Fingerprint;

    const TTL: Duration = Duration::from_secs(4);
    const ME: Nonce = Nonce(1);

    fn keys(login: u64) -> KeyFingerprints {
        let prints = |key: u64| [Fingerprint(key)].into_iter().collect();
        KeyFingerprints::new(prints(login), prints(20), prints(30))
    }

    fn shard(nonce: u64, login: u64, beat: u64) -> ShardView {
        ShardView {
            nonce: Nonce(nonce),
            addr: ([127, 0, 0, 1], 7_000).into(),
            beat,
            keys: keys(login),
            ttl: TTL,
        }
    }

    fn entry() -> Entry {
        Entry::new(ME, keys(10), TTL)
    }

    /// Shows the directory `looks` at a look each, an eighth of a ttl apart; all commands.
    fn enter(looks: &[Vec<ShardView>]) -> Vec<EntryCommand> {
        let (mut entry, mut looks, mut now) = (entry(), looks.iter(), Duration::ZERO);
        let mut commands = Vec::new();
        while let Some(command) = entry.poll_command() {
            match &command {
                EntryCommand::Look => match looks.next() {
                    Some(shards) => entry.handle_shards(now, shards),
                    None => return commands,
                },
                EntryCommand::Pause(pause) => now += *pause,
                _ => {}
            }
            commands.push(command);
        }
        assert_eq!(looks.next(), None, "{commands:?}");
        commands
    }

    fn refuse() -> EntryCommand {
        EntryCommand::Refuse {
            addr: shard(2, 11, 1).addr,
            kind: KeyKind::Login,
        }
    }

    #[test]
    fn shard_with_the_same_keys_is_announced_and_looks_once_more() {
        let look = vec![shard(2, 10, 1)];
        let commands = enter(&[look.clone(), look]);
        let expected = [
            EntryCommand::Look,
            EntryCommand::Announce,
            EntryCommand::Look,
            EntryCommand::Enter,
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn shard_with_other_keys_is_watched_and_refused_when_the_other_lives() {
        let commands = enter(&[vec![shard(2, 11, 1)], vec![shard(2, 11, 1)], vec![shard(2, 11, 2)]]);
        let pause = EntryCommand::Pause(TTL / 8);
        let expected = [
            EntryCommand::Look,
            EntryCommand::LogWaiting,
            pause.clone(),
            EntryCommand::Look,
            pause,
            EntryCommand::Look,
            refuse(),
        ];
        assert_eq!(commands, expected, "the wait is logged once, and nothing was announced");
    }

    #[test]
    fn dead_shard_with_other_keys_is_withdrawn_once_this_one_has_entered() {
        let looks = vec![vec![shard(2, 11, 1)]; 10];
        let commands = enter(&looks);
        let pauses = commands.iter().filter(|c| matches!(c, EntryCommand::Pause(_))).count();
        assert_eq!(pauses, 8, "a whole ttl");
        let end = [
            EntryCommand::Announce,
            EntryCommand::Look,
            EntryCommand::Withdraw(Nonce(2)),
            EntryCommand::Enter,
        ];
        assert_eq!(commands[commands.len() - 4..], end);
    }

    #[test]
    fn shard_that_finds_other_keys_after_it_was_announced_withdraws_itself() {
        let commands = enter(&[vec![], vec![shard(2, 11, 1)]]);
        let expected = [
            EntryCommand::Look,
            EntryCommand::Announce,
            EntryCommand::Look,
            EntryCommand::Withdraw(ME),
            refuse(),
        ];
        assert_eq!(commands, expected);
    }
}
