//! The rules' times and speeds in ticks, for one tick rate. Every timer of the state counts ticks, so slower game time
//! slows them all.

use super::book::RuleBook;

/// Times in ticks, speeds in cm per tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRules {
    /// Ticks per second.
    pub tick_hz: u16,
    /// A player's full speed, cm per tick.
    pub player_step_cm: i32,
    /// A monster's full speed, cm per tick.
    pub monster_step_cm: i32,
    /// Ticks for which an away player is still seen at least: the away are looked for once a second.
    pub linger: u64,
    /// Ticks for which an away player who is seen no more comes back with a secret.
    pub resume_window: u64,
    /// From a player's death to life.
    pub player_respawn: u64,
    /// Between two strikes.
    pub strike_cooldown: u64,
    /// Between two lines of chat.
    pub chat_cooldown: u64,
    /// Between two bites.
    pub bite_cooldown: u64,
    /// Between two looks around of a monster.
    pub think: u64,
    /// Ticks for which a monster wanders one way.
    pub wander: u64,
    /// From a monster's death until its camp has another.
    pub monster_respawn: u64,
    /// Between two new items on the ground.
    pub item_spawn: u64,
}

impl TickRules {
    /// The rule book's times at this tick rate (at least 1), each at least one tick.
    #[must_use]
    pub fn new(book: &RuleBook, tick_hz: u16) -> Self {
        let ticks = |ms: u32| (u64::from(ms) * u64::from(tick_hz)).div_ceil(1_000).max(1);
        let step = |cm_s: i32| (cm_s / i32::from(tick_hz)).max(1);
        let monster = book.monster();
        Self {
            tick_hz,
            player_step_cm: step(book.player().speed_cm_s),
            monster_step_cm: step(monster.speed_cm_s),
            linger: ticks(book.player().linger_ms),
            resume_window: ticks(book.player().resume_window_ms),
            player_respawn: ticks(book.player().respawn_ms),
            strike_cooldown: ticks(book.strike().cooldown_ms),
            chat_cooldown: ticks(book.chat().cooldown_ms),
            bite_cooldown: ticks(monster.bite_cooldown_ms),
            think: ticks(monster.think_ms),
            wander: ticks(monster.wander_ms),
            monster_respawn: ticks(monster.respawn_ms),
            item_spawn: ticks(book.item().spawn_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_up_to_whole_ticks_and_speeds_to_centimetres() {
        let book = RuleBook::default_world();
        let tick_rules = TickRules::new(&book, 20);
        assert_eq!(tick_rules.player_step_cm, book.player().speed_cm_s / 20);
        assert_eq!(
            tick_rules.strike_cooldown,
            u64::from(book.strike().cooldown_ms).div_ceil(50)
        );
        assert!(TickRules::new(&book, 1).strike_cooldown >= 1);
    }
}
