//! Everything that touches a socket, a file, a thread, or a clock.

pub mod clock;
pub mod sqlite;
