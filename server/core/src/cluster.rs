//! The cluster's pure part: which shard serves which zone, and where a connection belongs. It opens no socket and asks
//! no authority.

pub mod directory;
pub mod homes;
pub mod routing;
pub mod entrance;
pub mod ban_watch;

pub use ban_watch::BanWatch;
pub use directory::{Directory, Hosted, Placement, RouteRequest};
pub use entrance::Entrance;
pub use homes::{AccountRecord, Home, HomeStore};
pub use routing::{Routing, RoutingConfig};
