//! The cluster's pure part: which shard serves which zone, and where a connection belongs. It opens no socket and asks
//! no authority.

pub mod directory;
pub mod homes;
pub mod routing;

pub use directory::{Directory, Hosted, Placement, RouteRequest};
pub use homes::{AccountRecord, Home, HomeStore};
pub use routing::{Routing, RoutingConfig};
