//! For tests only: chat that makes a rule fail, so that real processes can be made to panic and to stall.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bevy_ecs::prelude::*;

use super::state::Due;

/// A line of chat that makes a rule fail, in every zone of the process: the one that applies it (`loop-on-chat=TEXT`,
/// `panic-on-chat=TEXT`), or a system after all inputs, for which no input is to blame (`loop-after-chat=TEXT`). Or a
/// system changes the world from then on as no replay does (`diverge-after-chat=TEXT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatFault {
    text: String,
    failure: Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Loop,
    Panic,
    LoopLater,
    Diverge,
}

impl FromStr for ChatFault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, text) = text.split_once('=').ok_or("it is written KIND=TEXT")?;
        let failure = match kind {
            "loop-on-chat" => Failure::Loop,
            "panic-on-chat" => Failure::Panic,
            "loop-after-chat" => Failure::LoopLater,
            "diverge-after-chat" => Failure::Diverge,
            _ => return Err("it is loop-on-chat, panic-on-chat, loop-after-chat, or diverge-after-chat"),
        };
        Ok(Self {
            text: text.to_owned(),
            failure,
        })
    }
}

static FAULT: OnceLock<ChatFault> = OnceLock::new();

/// A [`Failure::LoopLater`] is due.
static LATER: AtomicBool = AtomicBool::new(false);

/// A [`Failure::Diverge`] has begun.
static DIVERGES: AtomicBool = AtomicBool::new(false);

/// Sets the process's fault.
///
/// # Panics
/// If one is set already.
pub fn set(fault: ChatFault) {
    FAULT.set(fault).expect("a process has one fault");
}

/// Fails if this is the fault's text: the rule calls it with every line of chat.
pub(crate) fn trigger(text: &str) {
    match FAULT
        .get()
        .filter(|fault| fault.text == text)
        .map(|fault| fault.failure)
    {
        None => {}
        Some(Failure::Panic) => panic!("planted: {text}"),
        Some(Failure::Loop) => spin(),
        Some(Failure::LoopLater) => LATER.store(true, Ordering::Relaxed),
        Some(Failure::Diverge) => DIVERGES.store(true, Ordering::Relaxed),
    }
}

/// Fails if that is due: the first system calls it, when all inputs of a tick are applied.
pub(crate) fn trigger_later(world: &mut World) {
    if LATER.swap(false, Ordering::Relaxed) {
        spin();
    }
    if DIVERGES.load(Ordering::Relaxed) {
        world.resource_mut::<Due>().item += 1;
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
