//! Tickets: signed ones are read, and no others.

use ed25519_dalek::{Signer, SigningKey};
use everhold_protocol::limits::{TICKET_LIFETIME_S_MAX, TICKET_SKEW_S};
use everhold_protocol::ticket::{sign, verify};
use everhold_protocol::{Account, TicketClaims, TicketError};
use proptest::prelude::*;

use super::strategy;

const NOW: u64 = 1_900_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn claims(expires_unix_s: u64) -> TicketClaims {
    TicketClaims {
        id: [3; 16],
        account: Account(42),
        zone: "meadow".parse().unwrap(),
        expires_unix_s,
    }
}

fn verify_at(now: u64, ticket: &[u8]) -> Result<TicketClaims, TicketError> {
    verify(&key().verifying_key(), ticket, now)
}

#[test]
fn signed_ticket_is_read_back() {
    let claims = claims(NOW + 60);
    assert_eq!(verify_at(NOW, &sign(&key(), &claims)), Ok(claims));
}

#[test]
fn ticket_of_another_key_is_refused() {
    let ticket = sign(&SigningKey::from_bytes(&[8; 32]), &claims(NOW + 60));
    assert_eq!(verify_at(NOW, &ticket), Err(TicketError::BadSignature));
}

#[test]
fn expired_ticket_is_refused_after_the_skew() {
    let ticket = sign(&key(), &claims(NOW));
    assert!(verify_at(NOW + TICKET_SKEW_S, &ticket).is_ok());
    let ago_s = TICKET_SKEW_S + 1;
    assert_eq!(verify_at(NOW + ago_s, &ticket), Err(TicketError::Expired { ago_s }));
}

#[test]
fn ticket_that_is_good_for_too_long_is_refused() {
    let longest = TICKET_LIFETIME_S_MAX + TICKET_SKEW_S;
    assert!(verify_at(NOW, &sign(&key(), &claims(NOW + longest))).is_ok());
    let left_s = longest + 1;
    assert_eq!(
        verify_at(NOW, &sign(&key(), &claims(NOW + left_s))),
        Err(TicketError::TooLong { left_s })
    );
    assert!(matches!(
        verify_at(NOW, &sign(&key(), &claims(u64::MAX))),
        Err(TicketError::TooLong { .. })
    ));
}

#[test]
fn signature_over_the_bare_claims_is_no_ticket() {
    let ticket = sign(&key(), &claims(NOW + 60));
    let packed = &ticket[..ticket.len() - 64];
    let forged = [packed, &key().sign(packed).to_bytes()].concat();
    assert_eq!(verify_at(NOW, &forged), Err(TicketError::BadSignature));
}

#[test]
fn signed_nonsense_is_malformed() {
    for packed in [
        &[0_u8; 31][..],
        &[0; 32],
        &[[0; 32].as_slice(), b"No Such Name"].concat(),
    ] {
        let signed = [b"everhold/1 login ticket\0", packed].concat();
        let ticket = [packed, &key().sign(&signed).to_bytes()].concat();
        assert_eq!(verify_at(NOW, &ticket), Err(TicketError::Malformed));
    }
}

#[test]
fn bytes_too_short_for_a_signature_are_malformed() {
    assert_eq!(verify_at(NOW, &[]), Err(TicketError::Malformed));
    assert_eq!(verify_at(NOW, &[0; 63]), Err(TicketError::Malformed));
}

proptest! {
    #![proptest_config(strategy::cases(256))]

    #[test]
    fn ticket_with_any_bit_changed_is_refused(place: prop::sample::Index, bit in 0..8) {
        let mut ticket = sign(&key(), &claims(NOW + 60));
        let place = place.index(ticket.len());
        ticket[place] ^= 1_u8 << bit;
        prop_assert_eq!(verify_at(NOW, &ticket), Err(TicketError::BadSignature));
    }

    #[test]
    fn arbitrary_bytes_are_never_a_ticket(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(verify_at(NOW, &bytes).is_err());
    }
}
