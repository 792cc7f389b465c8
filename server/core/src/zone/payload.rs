//! A character as bytes of its own, in which it rests outside its zone: everything declared of its entity, the
//! session's id, secrets, counters, and outbox among it. Where the bytes are kept, is decided elsewhere.
//!
//! Layout: version (u16 LE, that of captures), the id of the rules under which it went to rest, then the row of its
//! entity as a capture has it. Who keeps the bytes makes sure that they come back as they were.

use bevy_ecs::prelude::*;
use everhold_protocol::{Account, EntityId};

use super::facts::FrozenPlayer;
use super::field::{Corrupt, Field, get_varint};
use super::kinds::Kinds;
use super::registry::State;
use super::restore::RestoreError;
use super::state::{FIRST_GENERATION, Residency, Resting, Session};
use crate::ownership::{reads_layout, state_layout};

/// A character's bytes, read so far that it can be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadReader<'a> {
    /// The rules under which it went to rest.
    pub(crate) rules_id: [u8; 32],
    /// Its session.
    pub(crate) id: EntityId,
    layout: u16,
    mask: u64,
    components: &'a [u8],
}

impl<'a> PayloadReader<'a> {
    /// Reads the front of a payload. Total: any bytes give a reader or an error.
    pub(crate) fn new(mut payload: &'a [u8]) -> Result<Self, RestoreError> {
        let input = &mut payload;
        let found = u16::from_le_bytes(<[u8; 2]>::get(input)?);
        if !reads_layout(found) {
            return Err(RestoreError::Layout { found });
        }
        Ok(Self {
            rules_id: Field::get(input)?,
            id: EntityId::get(input)?,
            layout: found,
            mask: get_varint(input)?,
            components: input,
        })
    }

    /// Places the character in the World, if it is whole and of this account. Its id must be free.
    pub(crate) fn place(self, world: &mut World, kinds: &Kinds, account: Account) -> Result<(), RestoreError> {
        let mut components = self.components;
        let mut rows = kinds.rows();
        rows.merge(self.id, (self.mask, self.layout), &mut components)?;
        let needs = 1 << Session::KIND | 1 << Resting::KIND;
        if !components.is_empty() || self.mask & needs != needs {
            return Err(Corrupt.into());
        }
        if rows
            .get::<Session>(self.id)
            .is_none_or(|session| session.account != account)
        {
            return Err(Corrupt.into());
        }
        rows.place(world);
        Ok(())
    }
}

impl FrozenPlayer<'_> {
    /// Returns the character's bytes, if it rests.
    #[must_use]
    pub fn resting(&self) -> Option<Vec<u8>> {
        self.get::<Resting>()?;
        let mut payload = state_layout().to_le_bytes().to_vec();
        self.rules_id().put(&mut payload);
        self.put(&mut payload);
        Some(payload)
    }

    /// Returns the generation of the character.
    #[must_use]
    pub fn generation(&self) -> u64 {
        let residency = self.get::<Residency>();
        residency.map_or(FIRST_GENERATION, |residency| residency.generation)
    }
}
