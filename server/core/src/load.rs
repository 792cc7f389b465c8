//! Load: what a zone leaves out when it has more to do than it can, and which newcomers may come in meanwhile. It opens
//! no socket and reads no clock.
//!
//! # What overloaded means
//!
//! A tick's own work is the least of it. Tick thread, runtime, and transport may share one core, and most of what a
//! player costs is spent on datagrams after the tick is over. Three figures together cover every way in which that
//! fails:
//!
//! - *Busy*: the tick thread's work plus the egress of the tick's snapshots, as a share of the tick's period. Both are
//!   wall-clock times, so they grow when other threads take the core away. It has no upper end: at three periods it
//!   says 3,000 ‰, so it tells a crowd that is a little too large from one that is hopeless.
//! - *Waited*: how late the tick began and how long finished ticks waited for the runtime, or how late the last tick's
//!   datagrams left, whichever is longer. This grows when threads outside the first figure (handshakes, encryption,
//!   another zone, another process) keep the core. A backlog only shows *that* there is too much, not how much: it
//!   grows however small the excess is. So it counts up to one period and no more.
//! - *Processor*: the share of the cores that this process used in the last second: it is seen before anything is late.
//!   It takes detail, and never time, because a full core whose ticks leave in time is no overload. It counts only for
//!   zones that have work of their own: an idle zone could not spare the process anything.
//!
//! The store's answer is not among them. A slow store makes players wait, but sending less does not make it faster, and
//! the zone holds by itself when it is too far ahead ([`crate::durability`]).
//!
//! The largest of the three is the *strain*, in thousandths of what can be done. [`Ladder`] turns it into a [`Rung`];
//! [`LoginQueue`] holds newcomers who must wait.

pub mod ladder;
pub mod rung_history;
pub mod login_queue;
pub mod residents;

pub use ladder::{Ladder, LadderState, Rung, TickLoad};
pub use login_queue::{Admission, EntryVerdict, LoginQueue};
pub use residents::{Caller, Residents};
pub use rung_history::RungHistory;
