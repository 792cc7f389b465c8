//! The cluster's pure part: who serves which zone, and where a connection belongs. It talks to nobody.

pub mod directory;

pub use directory::{Directory, Hosted, Placement, RouteRequest};
