//! The configuration of a keeper, taken from that of its shard.

use std::net::SocketAddr;

use everhold_core::game::RuleBook;
use everhold_core::ownership::contender::ContenderConfig;
use everhold_core::ownership::{HolderConfig, KeyFingerprints, Nonce, RulesTag};

use crate::config::Config;
use crate::guardian::GuardianLink;

/// The configuration of a keeper.
pub struct KeeperConfig {
    /// The configuration of its holder.
    pub holder: HolderConfig,
    /// The address at which this process serves players.
    pub addr: SocketAddr,
    /// Hears what is held, and that the keeper's thread lives.
    pub guardian: GuardianLink,
}

impl KeeperConfig {
    /// Takes from a shard's configuration what its keeper needs.
    pub fn new(
        config: &Config,
        (nonce, addr, keys): (Nonce, SocketAddr, KeyFingerprints),
        rules: &RuleBook,
        guardian: GuardianLink,
    ) -> Self {
        let preferred = config.zones.iter().cloned().collect();
        let stamp = rules.stamp(config.tick_hz);
        let tag = RulesTag::new(&stamp.id);
        let holder = HolderConfig {
            me: nonce,
            keys,
            lease: config.lease,
            contender: ContenderConfig::new(config.lease.ttl, config.zones_max, tag, preferred, nonce.0),
            rules: Some(stamp),
            zones: rules.zones().cloned().collect(),
            reseed_grace: config.lease.reseed_grace(),
        };
        Self { holder, addr, guardian }
    }
}
