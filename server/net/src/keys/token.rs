//! The key of retry and address tokens, of which there may be two: tokens are made with the first, and good with
//! either.

use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

/// Keys of retry and address tokens.
pub(super) struct TokenKeys {
    makes: Prk,
    also_good: Vec<Prk>,
}

impl TokenKeys {
    /// Makes the keys from secrets that are for nothing else. The first makes tokens.
    pub(super) fn new(first: &[u8; 32], others: &[[u8; 32]]) -> Self {
        let extract = |secret: &[u8; 32]| Salt::new(HKDF_SHA256, &[]).extract(secret);
        Self {
            makes: extract(first),
            also_good: others.iter().map(extract).collect(),
        }
    }
}

impl HandshakeTokenKey for TokenKeys {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(TokenSeal {
            makes: self.makes.aead_from_hkdf(random_bytes),
            also_good: self
                .also_good
                .iter()
                .map(|key| key.aead_from_hkdf(random_bytes))
                .collect(),
        })
    }
}

struct TokenSeal {
    makes: Box<dyn AeadKey>,
    also_good: Vec<Box<dyn AeadKey>>,
}

impl AeadKey for TokenSeal {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        self.makes.seal(data, additional_data)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        // A failed try leaves nothing of its input.
        for key in &self.also_good {
            let mut copy = data.to_vec();
            if let Ok(opened) = key.open(&mut copy, additional_data) {
                let bytes = opened.len();
                data[..bytes].copy_from_slice(opened);
                return Ok(&mut data[..bytes]);
            }
        }
        self.makes.open(data, additional_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    fn token_of(keys: &TokenKeys) -> Vec<u8> {
        let mut token = b"an address".to_vec();
        keys.aead_from_hkdf(b"random")
            .seal(&mut token, b"more")
            .expect("sealed");
        token
    }

    fn opens(keys: &TokenKeys, token: &[u8]) -> bool {
        let mut token = token.to_vec();
        let key = keys.aead_from_hkdf(b"random");
        key.open(&mut token, b"more")
            .is_ok_and(|opened| opened == b"an address")
    }

    #[test]
    fn token_of_one_stage_of_a_rotation_is_good_in_the_next() {
        let stages = [
            TokenKeys::new(&OLD, &[]),
            TokenKeys::new(&OLD, &[NEW]),
            TokenKeys::new(&NEW, &[OLD]),
            TokenKeys::new(&NEW, &[]),
        ];
        for pair in stages.windows(2) {
            assert!(opens(&pair[0], &token_of(&pair[1])) && opens(&pair[1], &token_of(&pair[0])));
        }
        assert!(!opens(&stages[3], &token_of(&stages[0])) && !opens(&stages[0], &token_of(&stages[3])));
    }
}
