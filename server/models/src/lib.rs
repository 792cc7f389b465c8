//! Exhaustive models of what a cluster's machines decide together, for tests only. Each explores every order of events
//! within its bounds and checks each state that comes of it. The machines, the store, and the authority in them are the
//! simulator's and the server's own, so that a model cannot drift from what it is of; only the wiring between them is
//! written anew, and small. No binary that is shipped depends on it. It reads no clock, and no machine that does not
//! decide is in it: what takes time is an event that may happen at any moment.

pub mod explore;
pub mod history;
pub mod appends;
pub mod heads;
pub mod ownership;
