//! For tests only: chat that makes a rule fail, so that real processes can be made to panic and to stall.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A line of chat that makes a rule fail, in every zone of the process: the one that applies it (`loop-on-chat=TEXT`,
/// `panic-on-chat=TEXT`), or a system after all inputs, for which nobody is to blame (`loop-after-chat=TEXT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    text: String,
    sprung: Sprung,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sprung {
    Loop,
    Panic,
    LoopLater,
}

impl FromStr for Trap {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, text) = text.split_once('=').ok_or("it is written KIND=TEXT")?;
        let sprung = match kind {
            "loop-on-chat" => Sprung::Loop,
            "panic-on-chat" => Sprung::Panic,
            "loop-after-chat" => Sprung::LoopLater,
            _ => return Err("it is loop-on-chat, panic-on-chat, or loop-after-chat"),
        };
        Ok(Self {
            text: text.to_owned(),
            sprung,
        })
    }
}

static TRAP: OnceLock<Trap> = OnceLock::new();

/// A [`Sprung::LoopLater`] is due.
static LATER: AtomicBool = AtomicBool::new(false);

/// Sets the process's trap.
///
/// # Panics
/// If one is set already.
pub fn set(trap: Trap) {
    TRAP.set(trap).expect("a process has one trap");
}

/// Called by the rule with every line of chat.
pub(crate) fn spring(text: &str) {
    match TRAP.get().filter(|trap| trap.text == text).map(|trap| trap.sprung) {
        None => {}
        Some(Sprung::Panic) => panic!("planted: {text}"),
        Some(Sprung::Loop) => spin(),
        Some(Sprung::LoopLater) => LATER.store(true, Ordering::Relaxed),
    }
}

/// Called by the first system, when all inputs of a tick are applied.
pub(crate) fn spring_later() {
    if LATER.swap(false, Ordering::Relaxed) {
        spin();
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
