//! Resume credentials: by them any shard of a world tells a returning player from a stranger, without any state.
//!
//! The secret that `Attached` gives a player is such a credential:
//!
//! ```text
//! | account, 8 bytes | random, 12 bytes | code, 12 bytes |        code: a keyed hash of account and random
//! ```
//!
//! The key comes from the world's keys, so a stranger's guess is refused at the connection, before it gets a place
//! among players. Only the zone knows, by the secret's hash, whether it is the session's last one: the code proves that
//! the bearer was a player of the world, not that it still may come back. It names no zone: a player that is led to
//! another one shows the secret that it has.

use everhold_protocol::Account;
use everhold_protocol::limits::SECRET_BYTES;

const ACCOUNT_BYTES: usize = 8;
/// Random bytes of a secret, which even a holder of the key cannot guess.
pub const SECRET_RANDOM_BYTES: usize = 12;
const CODE_BYTES: usize = 12;
const _: () = assert!(ACCOUNT_BYTES + SECRET_RANDOM_BYTES + CODE_BYTES == SECRET_BYTES);

/// The keys of a world's resume credentials. All of them are valid; the first makes new ones.
#[derive(Clone)]
pub struct ResumeKeys {
    first: [u8; 32],
    others: Vec<[u8; 32]>,
}

impl std::fmt::Debug for ResumeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResumeKeys").finish_non_exhaustive()
    }
}

impl ResumeKeys {
    /// Returns keys of which `first` makes credentials; those that `others` made are valid, too.
    #[must_use]
    pub const fn new(first: [u8; 32], others: Vec<[u8; 32]>) -> Self {
        Self { first, others }
    }

    /// Makes a secret for the next resume of `account`.
    #[must_use]
    pub fn make(&self, account: Account, random: [u8; SECRET_RANDOM_BYTES]) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        secret[..ACCOUNT_BYTES].copy_from_slice(&account.0.to_le_bytes());
        secret[ACCOUNT_BYTES..][..SECRET_RANDOM_BYTES].copy_from_slice(&random);
        let code = code(&self.first, &secret);
        secret[SECRET_BYTES - CODE_BYTES..].copy_from_slice(&code);
        secret
    }

    /// Returns the account that a secret was made for, if one of the keys has made it.
    #[must_use]
    pub fn account_of(&self, secret: &[u8; SECRET_BYTES]) -> Option<Account> {
        let shown = &secret[SECRET_BYTES - CODE_BYTES..];
        let is_of = |key| differing_bits(&code(key, secret), shown) == 0;
        let is_known = std::iter::once(&self.first).chain(&self.others).any(is_of);
        let account = u64::from_le_bytes(std::array::from_fn(|i| secret[i]));
        is_known.then_some(Account(account))
    }
}

/// Returns the code of a secret, whatever its last bytes are.
fn code(key: &[u8; 32], secret: &[u8; SECRET_BYTES]) -> [u8; CODE_BYTES] {
    let hash = blake3::keyed_hash(key, &secret[..SECRET_BYTES - CODE_BYTES]);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// Returns zero for equal slices of the same length, in a time that does not depend on their bytes.
fn differing_bits(left: &[u8], right: &[u8]) -> u8 {
    left.iter().zip(right).fold(0, |bits, (l, r)| bits | (l ^ r))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; SECRET_RANDOM_BYTES] = [7; SECRET_RANDOM_BYTES];
    const ACCOUNT: Account = Account(0x0102_0304_0506_0708);

    fn keys(first: u8, others: &[u8]) -> ResumeKeys {
        ResumeKeys::new([first; 32], others.iter().map(|key| [*key; 32]).collect())
    }

    #[test]
    fn secret_of_a_key_names_its_account_at_every_holder_of_the_key() {
        let secret = keys(1, &[]).make(ACCOUNT, RANDOM);
        assert_eq!(keys(1, &[]).account_of(&secret), Some(ACCOUNT));
        assert_eq!(
            keys(2, &[1]).account_of(&secret),
            Some(ACCOUNT),
            "an older key is good, too"
        );
    }

    #[test]
    fn secret_of_another_key_is_a_strangers() {
        let secret = keys(1, &[]).make(ACCOUNT, RANDOM);
        assert_eq!(keys(2, &[3]).account_of(&secret), None);
    }

    #[test]
    fn no_bit_of_a_secret_can_be_changed() {
        let keys = keys(1, &[]);
        let secret = keys.make(ACCOUNT, RANDOM);
        for bit in 0..SECRET_BYTES * 8 {
            let mut changed = secret;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.account_of(&changed), None, "bit {bit}");
        }
    }

    #[test]
    fn other_random_bytes_make_another_secret() {
        let keys = keys(1, &[]);
        let one = keys.make(ACCOUNT, RANDOM);
        assert_ne!(one, keys.make(ACCOUNT, [8; SECRET_RANDOM_BYTES]));
    }
}
