//! What a keeper is told when it starts.

use std::net::SocketAddr;

use everhold_core::game::RuleBook;
use everhold_core::ownership::contender::ContenderConfig;
use everhold_core::ownership::{HolderConfig, KeyFingerprints, Nonce};

use crate::config::Config;
use crate::guardian::GuardianLink;

/// What a keeper needs to know.
pub struct KeeperConfig {
    /// What its holder goes by.
    pub holder: HolderConfig,
    /// Where this process serves players.
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
        let holder = HolderConfig {
            me: nonce,
            keys,
            lease: config.lease,
            contender: ContenderConfig::new(config.lease.ttl, config.zones_max, preferred, nonce.0),
            zones: rules.zones().cloned().collect(),
            reseed_grace: config.lease.reseed_grace(),
        };
        Self { holder, addr, guardian }
    }
}
