//! A zone under test: what the engine does with inputs, sessions, and state, seen through the zone's own door. The game
//! in it is ours.

mod capture;
mod failure;
mod registry;
mod secrets;
mod sessions;

use everhold_protocol::event::RejectReason;
use everhold_protocol::{Account, EntityId, Event, Intent, RefusalCode, SessionId};

use super::*;
use crate::game::yard::*;
use crate::ingress::AttachToken;
