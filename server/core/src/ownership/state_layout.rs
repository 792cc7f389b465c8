//! The layout of state that this process writes, and which layouts it reads. What the layouts are, `zone` says.

use crate::limits::{STATE_LAYOUT, STATE_LAYOUT_MIN};

/// Returns the layout that this process writes, which is the latest that it reads.
#[must_use]
pub fn state_layout() -> u16 {
    #[cfg(feature = "testing")]
    if NEXT.get().is_some() {
        return STATE_LAYOUT + 1;
    }
    STATE_LAYOUT
}

/// Whether this process reads state of a layout.
#[must_use]
pub fn reads_layout(layout: u16) -> bool {
    (STATE_LAYOUT_MIN..=state_layout()).contains(&layout)
}

#[cfg(feature = "testing")]
static NEXT: std::sync::OnceLock<()> = std::sync::OnceLock::new();

/// Makes this process one of the next layout, whatever that adds: for tests of two builds side by side.
///
/// # Panics
/// If it is one already.
#[cfg(feature = "testing")]
pub fn write_next_layout() {
    NEXT.set(()).expect("a process has one layout");
}
