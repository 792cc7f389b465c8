//! The client machine against a scripted server, on a clock that only the test moves.

mod any_order;
mod events;
mod failover;
mod inputs;
mod load;
mod login;
mod other_zone;
mod parking;
mod script;
mod snapshots;
