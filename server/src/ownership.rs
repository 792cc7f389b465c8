//! Ownership decides whether this process may act for a zone. It reads no clock and talks to no authority itself.

pub mod epoch;
pub mod authority;

pub use authority::{Authority, AuthorityError, LeaseView};
pub use epoch::{Epoch, Grant, Nonce};
