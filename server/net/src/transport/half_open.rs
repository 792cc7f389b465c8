//! Strangers: connections without a verified `Hello`, and the choice of the one that goes when there are too many. It
//! knows no socket and no clock.
//!
//! A limit that refuses the newest is held by the first that came, and honest players come last. So at the limit the
//! newest takes the place of another: of the oldest one of the network that has the most strangers, where each player
//! of a network offsets one of its strangers. An honest handshake takes some round trips, and its network has few
//! strangers or many players, so it is over long before its turn comes, while a crowd of strangers pushes out itself.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use everhold_core::ingress::address::network_of;

/// The strangers of one net thread, in order of their coming.
#[derive(Debug)]
pub(super) struct HalfOpen<K> {
    strangers: VecDeque<HalfOpenConn<K>>,
    /// Networks with a stranger or a player.
    networks: HashMap<IpAddr, Network>,
}

#[derive(Debug)]
struct HalfOpenConn<K> {
    key: K,
    network: IpAddr,
    /// Whether its address was shown to be its own before it was let in.
    is_validated: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Network {
    strangers: usize,
    players: usize,
}

impl<K> Default for HalfOpen<K> {
    fn default() -> Self {
        Self {
            strangers: VecDeque::new(),
            networks: HashMap::new(),
        }
    }
}

impl<K: Copy + PartialEq> HalfOpen<K> {
    /// Adds a stranger that was let in.
    pub(super) fn insert(&mut self, key: K, ip: IpAddr, is_validated: bool) {
        let network = network_of(ip);
        self.networks.entry(network).or_default().strangers += 1;
        self.strangers.push_back(HalfOpenConn {
            key,
            network,
            is_validated,
        });
    }

    /// Moves a stranger that has logged in to the players.
    pub(super) fn prove(&mut self, key: K) {
        if let Some(network) = self.take(key) {
            self.networks.entry(network).or_default().players += 1;
        }
    }

    /// Removes a stranger.
    pub(super) fn remove(&mut self, key: K) {
        self.take(key);
    }

    /// Removes a player that came from `ip`.
    pub(super) fn remove_player(&mut self, ip: IpAddr) {
        self.change(network_of(ip), |network| {
            network.players = network.players.saturating_sub(1)
        });
    }

    /// Chooses the stranger that has to go for a newcomer from `ip`. Of networks that are alike, one whose addresses
    /// may be forged goes first, then the one with the oldest stranger.
    pub(super) fn victim(&self, ip: IpAddr) -> Option<K> {
        let newcomers = network_of(ip);
        let share = |stranger: &HalfOpenConn<K>| {
            let network = self.networks.get(&stranger.network).copied().unwrap_or_default();
            let strangers = network.strangers + usize::from(stranger.network == newcomers);
            strangers.saturating_sub(network.players)
        };
        let rank = |stranger: &HalfOpenConn<K>| (share(stranger), !stranger.is_validated);
        // The last of equals is taken, so from the newest to the oldest.
        let victim = self.strangers.iter().rev().max_by_key(|stranger| rank(stranger))?;
        Some(victim.key)
    }

    /// Takes a stranger off the list. Returns its network.
    fn take(&mut self, key: K) -> Option<IpAddr> {
        // The oldest are the likeliest.
        let place = self.strangers.iter().position(|stranger| stranger.key == key)?;
        let network = self.strangers.remove(place)?.network;
        self.change(network, |network| network.strangers -= 1);
        Some(network)
    }

    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut Network)) {
        if let Some(entry) = self.networks.get_mut(&network) {
            change(entry);
            if entry.strangers == 0 && entry.players == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Strangers 0, 1, 2, … from these addresses.
    fn from(addresses: &[u8]) -> HalfOpen<usize> {
        let mut strangers = HalfOpen::default();
        for (key, last) in addresses.iter().enumerate() {
            strangers.insert(key, ip(*last), true);
        }
        strangers
    }

    #[test]
    fn oldest_goes_when_all_networks_have_equally_many() {
        assert_eq!(from(&[1, 2, 3]).victim(ip(4)), Some(0));
    }

    #[test]
    fn network_with_the_most_loses_its_oldest() {
        assert_eq!(from(&[1, 2, 3, 2, 2]).victim(ip(4)), Some(1));
    }

    #[test]
    fn newcomer_counts_for_its_own_network() {
        assert_eq!(from(&[1, 2, 2, 3, 3]).victim(ip(3)), Some(3));
    }

    #[test]
    fn one_that_may_be_forged_goes_before_one_that_is_not() {
        let mut strangers = from(&[1, 2]);
        strangers.insert(9, ip(3), false);
        assert_eq!(strangers.victim(ip(4)), Some(9));
        strangers.insert(10, ip(2), true);
        assert_eq!(strangers.victim(ip(4)), Some(1), "a share counts for more");
    }

    #[test]
    fn hosts_of_one_v6_network_share() {
        let mut strangers = from(&[1]);
        strangers.insert(1, "2001:db8::1".parse().unwrap(), true);
        strangers.insert(2, "2001:db8::2".parse().unwrap(), true);
        assert_eq!(strangers.victim(ip(4)), Some(1));
    }

    #[test]
    fn removed_stranger_counts_no_more() {
        let mut strangers = from(&[1, 2, 2]);
        strangers.remove(1);
        strangers.remove(1);
        assert_eq!(strangers.victim(ip(4)), Some(0));
        strangers.remove(0);
        strangers.remove(2);
        assert_eq!(strangers.victim(ip(4)), None);
        assert_eq!(strangers.networks.len(), 0);
    }

    #[test]
    fn network_of_players_keeps_as_many_strangers_as_it_has_players() {
        let mut strangers = from(&[1, 1, 1, 2, 2]);
        assert_eq!(strangers.victim(ip(3)), Some(0));
        strangers.prove(0);
        assert_eq!(
            strangers.victim(ip(3)),
            Some(3),
            "two strangers, and a player who stands for one"
        );
        strangers.remove_player(ip(1));
        assert_eq!(strangers.victim(ip(3)), Some(1));
        for key in [1, 2, 3, 4] {
            strangers.remove(key);
        }
        assert_eq!(strangers.networks.len(), 0);
    }

    #[test]
    fn players_of_one_network_come_back_through_a_crowd() {
        let mut strangers = HalfOpen::default();
        for n in 0..100 {
            strangers.insert(n, ip(u8::try_from(n % 50).unwrap()), true);
        }
        // One of them comes in; then the others, one after the other, while the crowd presses.
        strangers.insert(1_000, ip(200), true);
        strangers.prove(1_000);
        for n in 0..50 {
            let crowd = strangers.victim(ip(200)).unwrap();
            assert!(crowd < 1_000);
            strangers.remove(crowd);
            strangers.insert(1_001 + n, ip(200), true);
            let crowd = strangers.victim(ip(1)).unwrap();
            assert!(crowd < 1_000);
            strangers.prove(1_001 + n);
            strangers.insert(crowd, ip(1), true);
            strangers.remove(crowd);
        }
    }

    #[test]
    fn an_honest_handshake_outlives_a_crowd_that_holds_its_places() {
        let mut strangers = HalfOpen::default();
        let crowd = |n: usize| ip(u8::try_from(n % 24).unwrap());
        for n in 0..100 {
            strangers.insert(n, crowd(n), true);
        }
        strangers.insert(1_000, ip(200), true);
        for n in 100..500 {
            let victim = strangers.victim(crowd(n)).unwrap();
            assert_ne!(victim, 1_000, "after {n} others");
            strangers.remove(victim);
            strangers.insert(n, crowd(n), true);
        }
    }
}
