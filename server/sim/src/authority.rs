//! Leases and the directory of shards in memory, with the answers of a real authority and with faults. A plain state
//! machine: it locks nothing, waits for nothing, and reads no clock. That a lease ran out is for its contenders to
//! see, and that one was released for the caller to tell them.
//!
//! Its contract are the traits [`Authority`](everhold_core::ownership::Authority) and
//! [`Membership`](everhold_core::ownership::Membership).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use everhold_core::ownership::{
    AuthorityError, Grant, KeyFingerprints, LeaseTerms, LeaseView, Leases, Nonce, Renewal, ShardView, Tenure,
};
use everhold_protocol::{Epoch, ZoneName};

/// The address of a lease that was never held.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// All that an authority held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthorityDump {
    leases: BTreeMap<ZoneName, LeaseView>,
    shards: BTreeMap<Nonce, ShardView>,
}

/// The size of an authority's data, for bounds on its growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthorityUsage {
    /// Zones with a lease.
    pub leases: usize,
    /// Entries in the directory, those of dead shards among them.
    pub shards: usize,
}

/// An authority in memory. The methods named as those of the traits do what the traits say; the others are its faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryAuthority {
    data: AuthorityDump,
    is_full: bool,
}

/// Leases, as the trait says.
impl MemoryAuthority {
    /// Makes a zone known.
    pub fn declare_zone(&mut self, zone: &ZoneName) -> Result<(), AuthorityError> {
        self.check_room()?;
        self.data.leases.entry(zone.clone()).or_insert_with(|| free_lease(zone));
        Ok(())
    }

    /// Reads all leases.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases {
            views: self.data.leases.values().cloned().collect(),
            ..Leases::default()
        }
    }

    /// Takes a zone by compare-and-set on what was watched.
    pub fn claim(
        &mut self,
        watched: &LeaseView,
        nonce: Nonce,
        terms: LeaseTerms,
        epoch_floor: Epoch,
    ) -> Result<Tenure, AuthorityError> {
        self.check_room()?;
        let now = lease(&mut self.data.leases, &watched.zone)?;
        let epoch = watched.epoch.max(epoch_floor).next();
        let epoch = epoch.ok_or_else(|| AuthorityError::Unavailable("epochs have run out".to_owned()))?;
        let tenure = Tenure {
            zone: watched.zone.clone(),
            grant: Grant::issue(epoch, nonce),
        };
        // This very claim was granted before, and its answer got lost.
        if is_held_under(now, tenure.grant) {
            return Ok(tenure);
        }
        let is_watched = (now.epoch, now.nonce, now.beat, now.released)
            == (watched.epoch, watched.nonce, watched.beat, watched.released);
        if !is_watched {
            return Err(held(now));
        }
        // The player count stays: should the new holder die before its first renewal, the next spare still knows who
        // waits.
        (now.epoch, now.nonce, now.released) = (epoch, nonce, false);
        (now.addr, now.ttl) = (terms.addr, terms.ttl);
        now.beat += 1;
        Ok(tenure)
    }

    /// Moves the beat.
    pub fn renew(&mut self, renewal: &Renewal) -> Result<(), AuthorityError> {
        self.check_room()?;
        let tenure = &renewal.tenure;
        let now = lease(&mut self.data.leases, &tenure.zone)?;
        if !is_held_under(now, tenure.grant) {
            return Err(held(now));
        }
        now.players = renewal.players;
        now.mark = renewal.mark.or(now.mark);
        now.beat += 1;
        Ok(())
    }

    /// Puts a lease back, as into a max register.
    pub fn reinstate(&mut self, renewal: &Renewal, terms: LeaseTerms) -> Result<(), AuthorityError> {
        self.check_room()?;
        let Tenure { zone, grant } = &renewal.tenure;
        if let Some(now) = self.data.leases.get(zone)
            && now.epoch >= grant.epoch()
            && !is_held_under(now, *grant)
        {
            return Err(held(now));
        }
        let leases = &mut self.data.leases;
        let now = leases.entry(zone.clone()).or_insert_with(|| free_lease(zone));
        *now = LeaseView {
            zone: zone.clone(),
            epoch: grant.epoch(),
            nonce: grant.nonce(),
            beat: now.beat + 1,
            released: false,
            addr: terms.addr,
            players: renewal.players,
            ttl: terms.ttl,
            mark: renewal.mark.or(now.mark),
        };
        Ok(())
    }

    /// Gives a zone up. If it answers `Ok`, [`Authority::wait_for_release`] may resolve at every connection.
    ///
    /// [`Authority::wait_for_release`]: everhold_core::ownership::Authority::wait_for_release
    pub fn release(&mut self, tenure: &Tenure) -> Result<(), AuthorityError> {
        self.check_room()?;
        let now = lease(&mut self.data.leases, &tenure.zone)?;
        if (now.epoch, now.nonce) != (tenure.epoch(), tenure.grant.nonce()) {
            return Err(held(now));
        }
        // Releasing once more is harmless: the first answer may have got lost.
        if !now.released {
            now.released = true;
            now.beat += 1;
        }
        Ok(())
    }
}

/// The directory of shards, as the trait says.
impl MemoryAuthority {
    /// Enters a shard, or moves its beat.
    pub fn announce(
        &mut self,
        nonce: Nonce,
        addr: SocketAddr,
        keys: &KeyFingerprints,
        ttl: Duration,
    ) -> Result<(), AuthorityError> {
        self.check_room()?;
        let beat = self.data.shards.get(&nonce).map_or(0, |shard| shard.beat) + 1;
        let shard = ShardView {
            nonce,
            addr,
            beat,
            keys: keys.clone(),
            ttl,
        };
        self.data.shards.insert(nonce, shard);
        Ok(())
    }

    /// Removes a shard's entry.
    pub fn withdraw(&mut self, nonce: Nonce) -> Result<(), AuthorityError> {
        self.check_room()?;
        self.data.shards.remove(&nonce);
        Ok(())
    }

    /// Reads all entries.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardView> {
        self.data.shards.values().cloned().collect()
    }
}

/// Faults, and figures of growth.
impl MemoryAuthority {
    /// Forgets all leases and shards, as a Redis without persistence does that restarts.
    pub fn forget_everything(&mut self) {
        self.data = AuthorityDump::default();
    }

    /// Forgets one zone's lease.
    pub fn forget_zone(&mut self, zone: &ZoneName) {
        self.data.leases.remove(zone);
    }

    /// Returns all that is held now.
    #[must_use]
    pub fn dump(&self) -> AuthorityDump {
        self.data.clone()
    }

    /// Goes back to what was held then: epochs that were granted since are forgotten.
    pub fn restore_to(&mut self, dump: &AuthorityDump) {
        self.data = dump.clone();
    }

    /// Goes back to one zone's lease of then, which may be none.
    pub fn restore_zone_to(&mut self, dump: &AuthorityDump, zone: &ZoneName) {
        match dump.leases.get(zone) {
            Some(lease) => self.data.leases.insert(zone.clone(), lease.clone()),
            None => self.data.leases.remove(zone),
        };
    }

    /// Fills the authority up, or makes room in it: while it is full it does no write, renewals among them, and answers
    /// [`AuthorityError::Unavailable`] to each. It is read all the same.
    pub const fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Measures what is held.
    #[must_use]
    pub fn usage(&self) -> AuthorityUsage {
        AuthorityUsage {
            leases: self.data.leases.len(),
            shards: self.data.shards.len(),
        }
    }

    fn check_room(&self) -> Result<(), AuthorityError> {
        if self.is_full {
            return Err(AuthorityError::Unavailable("there is no room for a write".to_owned()));
        }
        Ok(())
    }
}

fn free_lease(zone: &ZoneName) -> LeaseView {
    LeaseView {
        zone: zone.clone(),
        epoch: Epoch::NONE,
        nonce: Nonce(0),
        beat: 0,
        released: true,
        addr: NOWHERE,
        players: 0,
        ttl: Duration::ZERO,
        mark: None,
    }
}

fn lease<'a>(
    leases: &'a mut BTreeMap<ZoneName, LeaseView>,
    zone: &ZoneName,
) -> Result<&'a mut LeaseView, AuthorityError> {
    let lease = leases.get_mut(zone);
    lease.ok_or_else(|| AuthorityError::ZoneUnknown(zone.clone()))
}

fn is_held_under(lease: &LeaseView, grant: Grant) -> bool {
    (lease.epoch, lease.nonce, lease.released) == (grant.epoch(), grant.nonce(), false)
}

fn held(lease: &LeaseView) -> AuthorityError {
    AuthorityError::Held(Box::new(lease.clone()))
}
