//! Login tickets: signed, short-lived, valid once. This module signs and verifies; the zone makes sure that a ticket is
//! used only once.
//!
//! A ticket is its packed claims, then an Ed25519 signature ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)) over
//! [`ALPN`], a fixed text, and those claims. The text keeps a signature that the same key made for anything else from
//! being a ticket, the ALPN keeps one of another protocol version out, and there is no field that names an algorithm,
//! so none can be chosen by a forger.

use ed25519_dalek::{SIGNATURE_LENGTH, Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::ALPN;
use crate::codec::{DecodeError, Reader, Writer};
use crate::ids::{Account, ZoneName};
use crate::limits::{TICKET_LIFETIME_S_MAX, TICKET_SKEW_S};

/// The text after the ALPN in the signed bytes. Neither holds a zero byte, so the end of this one is certain.
const CONTEXT: &[u8] = b" login ticket\0";

/// The claims of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// Random; the zone remembers used ones until they expire.
    pub id: [u8; 16],
    /// The account that may log in.
    pub account: Account,
    /// The zone where a new character is born; an account that has a home goes there instead.
    pub zone: ZoneName,
    /// Seconds since the Unix epoch after which the ticket is refused.
    pub expires_unix_s: u64,
}

/// The reason why a ticket is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The bytes are no ticket.
    #[error("the bytes are no login ticket")]
    Malformed,
    /// Signed by another key, for another protocol, or changed since.
    #[error("the ticket's signature does not fit")]
    BadSignature,
    /// Past its time.
    #[error("the ticket expired {ago_s} s ago")]
    Expired {
        /// Time since its expiry, seconds.
        ago_s: u64,
    },
    /// Valid for longer than a ticket may be: the zone would have to remember it for too long.
    #[error("the ticket is good for {left_s} s more; {max} s are allowed", max = TICKET_LIFETIME_S_MAX + TICKET_SKEW_S)]
    TooLong {
        /// Time until its expiry, seconds.
        left_s: u64,
    },
}

/// Makes a ticket. Ed25519 needs no randomness to sign; `claims.id` is the caller's to draw.
#[must_use]
pub fn sign(key: &SigningKey, claims: &TicketClaims) -> Vec<u8> {
    let mut ticket = pack(claims);
    let signature = key.sign(&signed_bytes(&ticket));
    ticket.extend_from_slice(&signature.to_bytes());
    ticket
}

/// Reads and checks a ticket at `now_unix_s`, seconds since the Unix epoch. Clocks may differ by [`TICKET_SKEW_S`]
/// either way.
///
/// # Errors
/// Apart from the ticket's length, nothing is read before its signature fits.
pub fn verify(key: &VerifyingKey, ticket: &[u8], now_unix_s: u64) -> Result<TicketClaims, TicketError> {
    let (packed, signature) = ticket
        .split_last_chunk::<SIGNATURE_LENGTH>()
        .ok_or(TicketError::Malformed)?;
    // Strict: keys and points of small order, for which one signature fits many messages, are refused.
    key.verify_strict(&signed_bytes(packed), &Signature::from_bytes(signature))
        .map_err(|_| TicketError::BadSignature)?;
    let claims = unpack(packed).ok_or(TicketError::Malformed)?;
    let ago_s = now_unix_s.saturating_sub(claims.expires_unix_s);
    if ago_s > TICKET_SKEW_S {
        return Err(TicketError::Expired { ago_s });
    }
    let left_s = claims.expires_unix_s.saturating_sub(now_unix_s);
    if left_s > TICKET_LIFETIME_S_MAX + TICKET_SKEW_S {
        return Err(TicketError::TooLong { left_s });
    }
    Ok(claims)
}

/// Returns the bytes that the signature covers.
fn signed_bytes(packed: &[u8]) -> Vec<u8> {
    [ALPN, CONTEXT, packed].concat()
}

/// Packs the claims: id, account, expiry, and the zone's name up to the end.
fn pack(claims: &TicketClaims) -> Vec<u8> {
    let mut packed = Vec::with_capacity(32 + ZoneName::BYTES_MAX + SIGNATURE_LENGTH);
    let mut out = Writer::new(&mut packed);
    out.bytes(&claims.id);
    out.u64(claims.account.0);
    out.u64(claims.expires_unix_s);
    out.bytes(claims.zone.as_str().as_bytes());
    packed
}

/// Unpacks what [`pack`] packed. The kind of error does not matter: no login service signs such claims.
fn unpack(packed: &[u8]) -> Option<TicketClaims> {
    let mut from = Reader::new(packed);
    let (id, account, expires_unix_s) = fixed_claims(&mut from).ok()?;
    let zone = from.bytes(from.remaining()).ok()?;
    let zone = std::str::from_utf8(zone).ok()?.parse().ok()?;
    Some(TicketClaims {
        id,
        account,
        zone,
        expires_unix_s,
    })
}

/// Reads id, account, expiry.
fn fixed_claims(from: &mut Reader<'_>) -> Result<([u8; 16], Account, u64), DecodeError> {
    Ok((from.array()?, Account(from.u64()?), from.u64()?))
}
