//! Limits of one network address. It reads no clock: `now` comes in.
//!
//! Packets with a forged source address must not use up the allowance of its true owner. So an address that has not
//! been *validated* (by a Retry, or by a token of an earlier visit) has an allowance of its own, and beyond it is asked
//! for the proof, which only the true owner can give; validated attempts and connections are counted apart. IPv6 hosts
//! choose their lower 64 bits at will, so there the address is the /64 prefix.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::rate::TokenBucket;
use crate::limits::{
    ADDRESS_ATTEMPTS_BURST, ADDRESS_ATTEMPTS_PER_S, ADDRESS_CONNECTIONS_MAX, ADDRESSES_MAX, ADDRESSES_UNVALIDATED_MAX,
};

/// Limits of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Connection attempts per second.
    pub attempts_per_s: u32,
    /// Attempts at once.
    pub attempts_burst: u32,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Whether the host itself is not limited: proxies, tools, and simulated players share its one address.
    pub exempt_loopback: bool,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            attempts_per_s: ADDRESS_ATTEMPTS_PER_S,
            attempts_burst: ADDRESS_ATTEMPTS_BURST,
            connections_max: ADDRESS_CONNECTIONS_MAX,
            exempt_loopback: true,
        }
    }
}

/// The verdict on a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressVerdict {
    /// Accept it: it is within the limits.
    Take,
    /// Ask for a proof that the address is the sender's own.
    Validate,
    /// Refuse it: it is beyond the limits, and the address is proven.
    Refuse,
}

/// Returns what counts as one address: an IPv4 address, or the /64 of an IPv6 one.
#[must_use]
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

/// All addresses that have attempts or connections.
#[derive(Debug)]
pub struct Addresses {
    limits: AddressLimits,
    known: HashMap<IpAddr, KnownAddress>,
}

#[derive(Debug)]
struct KnownAddress {
    validated: TokenBucket,
    unvalidated: TokenBucket,
    connections: usize,
    seen: Duration,
}

impl Addresses {
    /// Returns an empty table.
    #[must_use]
    pub fn new(limits: AddressLimits) -> Self {
        Self {
            limits,
            known: HashMap::new(),
        }
    }

    /// Judges a connection attempt from `ip` at `now`.
    pub fn judge(&mut self, ip: IpAddr, is_validated: bool, now: Duration) -> AddressVerdict {
        let Some(address) = self.limited(ip) else {
            return AddressVerdict::Take;
        };
        let room = if is_validated {
            ADDRESSES_MAX
        } else {
            ADDRESSES_UNVALIDATED_MAX
        };
        if !self.known.contains_key(&address) && self.known.len() >= room && !self.forget_idle(now, room) {
            // Unknown addresses prove themselves while the table is crowded; proven ones are let in uncounted, because
            // the limits of the whole server hold all the same.
            return if is_validated {
                AddressVerdict::Take
            } else {
                AddressVerdict::Validate
            };
        }
        let connections_max = self.limits.connections_max;
        let known = self.enter(address, now);
        let has_room = known.connections < connections_max;
        let (allowance, otherwise) = if is_validated {
            (&mut known.validated, AddressVerdict::Refuse)
        } else {
            (&mut known.unvalidated, AddressVerdict::Validate)
        };
        if has_room && allowance.take(now) {
            AddressVerdict::Take
        } else {
            otherwise
        }
    }

    /// Counts a connection with `ip`, whose finished handshake proves the address. `false`: it has as many as it may.
    pub fn connect(&mut self, ip: IpAddr, now: Duration) -> bool {
        let Some(address) = self.limited(ip) else { return true };
        let connections_max = self.limits.connections_max;
        let known = self.enter(address, now);
        if known.connections >= connections_max {
            return false;
        }
        known.connections += 1;
        true
    }

    /// Ends a connection that [`Addresses::connect`] allowed.
    pub fn disconnect(&mut self, ip: IpAddr) {
        if let Some(known) = self.limited(ip).and_then(|address| self.known.get_mut(&address)) {
            known.connections = known.connections.saturating_sub(1);
        }
    }

    /// Returns the number of addresses in the table.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// Returns the table's key for `ip`; `None` if it is not limited.
    fn limited(&self, ip: IpAddr) -> Option<IpAddr> {
        if self.limits.exempt_loopback && ip.to_canonical().is_loopback() {
            return None;
        }
        Some(network_of(ip))
    }

    fn enter(&mut self, address: IpAddr, now: Duration) -> &mut KnownAddress {
        let AddressLimits {
            attempts_per_s,
            attempts_burst,
            ..
        } = self.limits;
        let known = self.known.entry(address).or_insert_with(|| KnownAddress {
            validated: TokenBucket::new(attempts_per_s, attempts_burst, now),
            unvalidated: TokenBucket::new(attempts_per_s, attempts_burst, now),
            connections: 0,
            seen: now,
        });
        known.seen = now;
        known
    }

    /// Drops addresses without a connection whose allowance is full again: they are as good as new. Returns whether
    /// there is room then.
    fn forget_idle(&mut self, now: Duration, room: usize) -> bool {
        let whole_after = Duration::from_secs(u64::from(
            self.limits.attempts_burst / self.limits.attempts_per_s.max(1) + 1,
        ));
        self.known
            .retain(|_, known| known.connections > 0 || now.saturating_sub(known.seen) < whole_after);
        self.known.len() < room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AddressLimits = AddressLimits {
        attempts_per_s: 1,
        attempts_burst: 2,
        connections_max: 3,
        exempt_loopback: true,
    };
    const NOW: Duration = Duration::from_secs(100);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn verdicts(addresses: &mut Addresses, from: &str, is_validated: bool, count: usize) -> Vec<AddressVerdict> {
        (0..count)
            .map(|_| addresses.judge(ip(from), is_validated, NOW))
            .collect()
    }

    #[test]
    fn address_beyond_its_allowance_must_prove_itself_and_then_has_another() {
        use AddressVerdict::{Refuse, Take, Validate};
        let mut addresses = Addresses::new(LIMITS);
        assert_eq!(verdicts(&mut addresses, "192.0.2.1", false, 3), [Take, Take, Validate]);
        assert_eq!(verdicts(&mut addresses, "192.0.2.1", true, 3), [Take, Take, Refuse]);
        assert_eq!(
            verdicts(&mut addresses, "192.0.2.2", false, 1),
            [Take],
            "others are not touched"
        );
    }

    #[test]
    fn allowance_comes_back() {
        let mut addresses = Addresses::new(LIMITS);
        verdicts(&mut addresses, "192.0.2.1", true, 3);
        let later = NOW + Duration::from_secs(1);
        assert_eq!(addresses.judge(ip("192.0.2.1"), true, later), AddressVerdict::Take);
    }

    #[test]
    fn address_with_all_its_connections_gets_another_when_one_ends() {
        let mut addresses = Addresses::new(LIMITS);
        let from = ip("192.0.2.1");
        assert!((0..3).all(|_| addresses.connect(from, NOW)));
        assert!(!addresses.connect(from, NOW));
        assert_eq!(addresses.judge(from, true, NOW), AddressVerdict::Refuse);
        assert_eq!(addresses.judge(from, false, NOW), AddressVerdict::Validate);
        addresses.disconnect(from);
        assert!(addresses.connect(from, NOW));
    }

    #[test]
    fn hosts_of_one_v6_network_count_as_one() {
        let mut addresses = Addresses::new(LIMITS);
        verdicts(&mut addresses, "2001:db8::1", false, 2);
        assert_eq!(
            verdicts(&mut addresses, "2001:db8::2", false, 1),
            [AddressVerdict::Validate]
        );
        assert_eq!(
            verdicts(&mut addresses, "2001:db8:0:1::1", false, 1),
            [AddressVerdict::Take]
        );
    }

    #[test]
    fn ipv4_host_on_a_socket_of_both_families_is_the_same_as_on_one_of_its_own() {
        use AddressVerdict::{Take, Validate};
        let mut addresses = Addresses::new(LIMITS);
        assert_eq!(verdicts(&mut addresses, "::ffff:192.0.2.1", false, 2), [Take, Take]);
        assert_eq!(verdicts(&mut addresses, "192.0.2.1", false, 1), [Validate]);
        assert_eq!(verdicts(&mut addresses, "::ffff:192.0.2.2", false, 1), [Take]);
    }

    #[test]
    fn loopback_is_not_limited_and_not_remembered() {
        let mut addresses = Addresses::new(LIMITS);
        assert!(
            verdicts(&mut addresses, "127.0.0.1", false, 9)
                .iter()
                .all(|v| *v == AddressVerdict::Take)
        );
        assert!(
            verdicts(&mut addresses, "::ffff:127.0.0.1", true, 9)
                .iter()
                .all(|v| *v == AddressVerdict::Take)
        );
        assert_eq!(addresses.known(), 0);
    }

    #[test]
    fn table_full_of_forged_addresses_keeps_room_for_proven_ones() {
        let mut addresses = Addresses::new(LIMITS);
        for n in 0..=u32::try_from(ADDRESSES_UNVALIDATED_MAX).unwrap() {
            addresses.judge(IpAddr::V4(n.into()), false, NOW);
        }
        assert_eq!(addresses.known(), ADDRESSES_UNVALIDATED_MAX);
        assert_eq!(
            verdicts(&mut addresses, "198.51.100.1", false, 1),
            [AddressVerdict::Validate]
        );
        assert_eq!(
            verdicts(&mut addresses, "198.51.100.1", true, 1),
            [AddressVerdict::Take]
        );
        let later = NOW + Duration::from_secs(60);
        assert_eq!(addresses.judge(ip("198.51.100.2"), false, later), AddressVerdict::Take);
        assert!(addresses.known() <= 2, "the idle are forgotten");
    }
}
