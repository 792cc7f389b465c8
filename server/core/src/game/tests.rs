//! The game under test: what each intent and each system does, seen through a zone.

mod chat;
mod combat;
mod gifts;
mod ground;
mod monsters;
mod refit;

use everhold_protocol::event::RejectReason;
use everhold_protocol::{Account, EntityId, EntityView, Event, Heading, Intent, SessionId};

use super::state::{Belongings, Body, Due};
use super::yard::*;
use crate::ingress::{AttachToken, Input};
use crate::zone::index::EntityIndex;
use crate::zone::{Outputs, Reply, Scene, Zone};
