//! The pure half of a login: is a ticket signed by the login service, and was a secret made by a shard of this world?
//! The zone knows whether a ticket was used before, and whether a secret is the session's last one.

use ed25519_dalek::VerifyingKey;
use everhold_protocol::limits::SECRET_BYTES;
use everhold_protocol::message::hello_version;
use everhold_protocol::ticket::{self, TicketClaims, TicketError};
use everhold_protocol::{
    Account, ClientMessage, Credential, Epoch, PROTOCOL_VERSION, RefusalCode, SessionId, ZoneName,
};

use super::credential::ResumeKeys;
use super::refusal::Refusal;

/// A login whose form, version and signature are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A login by ticket, signed by the login service and in its time.
    Ticket(TicketClaims),
    /// With the secret of an earlier attach. A shard of this world has made it; the zone has not compared it yet.
    Resume(ResumeClaim),
}

/// A client's claim to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeClaim {
    /// The account that the secret was made for.
    pub account: Account,
    /// The zone in which the session lives.
    pub zone: ZoneName,
    /// The session.
    pub session: SessionId,
    /// The secret that the client shows.
    pub secret: [u8; SECRET_BYTES],
    /// The highest epoch the client has seen; an owner of a lower one must not answer.
    pub epoch: Epoch,
    /// The last event the client has.
    pub event_seq: u64,
}

/// Checks the version of the first message of a connection, whatever else is in it: a `Hello` of another version may
/// have fields and credentials that this one cannot read. A message that is no `Hello` passes, because reading it gives
/// a better error.
///
/// # Errors
/// The client is refused.
pub fn check_version(message: &[u8]) -> Result<(), Refusal> {
    match hello_version(message) {
        Some(version) if version != u64::from(PROTOCOL_VERSION) => {
            let detail = format!("this server speaks version {PROTOCOL_VERSION}, not {version}");
            Err(Refusal::new(RefusalCode::Version, detail))
        }
        _ => Ok(()),
    }
}

/// Checks the first message of a connection, whose version [`check_version`] has let pass, at `now_unix_s`, seconds
/// since the Unix epoch. Tickets of any of the keys are valid.
///
/// # Errors
/// The client is refused. The refusal tells a stranger nothing that a ticket of its own does not say.
pub fn check_hello(
    message: ClientMessage,
    ticket_keys: &[VerifyingKey],
    resume_keys: &ResumeKeys,
    now_unix_s: u64,
) -> Result<Login, Refusal> {
    let ClientMessage::Hello { protocol, credential } = message else {
        return Err(Refusal::new(RefusalCode::Malformed, "the first message must be Hello"));
    };
    // Only a message that is written in an unusual way gets here with another version.
    if protocol != PROTOCOL_VERSION {
        let detail = format!("this server speaks version {PROTOCOL_VERSION}, not {protocol}");
        return Err(Refusal::new(RefusalCode::Version, detail));
    }
    match credential {
        Credential::Ticket(bytes) => verify(ticket_keys, &bytes, now_unix_s)
            .map(Login::Ticket)
            .map_err(|e| Refusal::new(ticket_code(&e), e.to_string())),
        Credential::Resume {
            zone,
            session,
            secret,
            epoch,
            event_seq,
        } => match resume_keys.account_of(&secret) {
            Some(account) => Ok(Login::Resume(ResumeClaim {
                account,
                zone,
                session,
                secret,
                epoch,
                event_seq,
            })),
            None => {
                let detail = "no shard of this world has made this secret: log in again";
                Err(Refusal::new(RefusalCode::SessionUnknown, detail))
            }
        },
    }
}

/// Returns the result of the key that signed the ticket, if one of them did.
fn verify(keys: &[VerifyingKey], bytes: &[u8], now_unix_s: u64) -> Result<TicketClaims, TicketError> {
    let answers = keys.iter().map(|key| ticket::verify(key, bytes, now_unix_s));
    let signed = |answer: &Result<_, _>| !matches!(answer, Err(TicketError::BadSignature));
    answers
        .into_iter()
        .find(signed)
        .unwrap_or(Err(TicketError::BadSignature))
}

/// Returns the refusal code. Only a ticket that would be valid at another time is called expired: its holder should
/// fetch a new one.
const fn ticket_code(error: &TicketError) -> RefusalCode {
    match error {
        TicketError::Expired { .. } => RefusalCode::TicketExpired,
        TicketError::Malformed | TicketError::BadSignature | TicketError::TooLong { .. } => RefusalCode::TicketInvalid,
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use everhold_protocol::Account;

    use super::*;
    use crate::ingress::credential::SECRET_RANDOM_BYTES;

    const NOW_UNIX_S: u64 = 1_800_000_000;

    fn resume_keys() -> ResumeKeys {
        ResumeKeys::new([3; 32], Vec::new())
    }

    fn service() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn claims(expires_unix_s: u64) -> TicketClaims {
        TicketClaims {
            id: [1; 16],
            account: Account(5),
            zone: "north".parse().expect("a zone name"),
            expires_unix_s,
        }
    }

    fn check(protocol: u16, credential: Credential) -> Result<Login, RefusalCode> {
        let hello = ClientMessage::Hello { protocol, credential };
        let old = SigningKey::from_bytes(&[6; 32]);
        let keys = [old.verifying_key(), service().verifying_key()];
        check_hello(hello, &keys, &resume_keys(), NOW_UNIX_S).map_err(|refusal| refusal.code)
    }

    fn check_ticket(key: &SigningKey, claims: &TicketClaims) -> Result<Login, RefusalCode> {
        check(PROTOCOL_VERSION, Credential::Ticket(ticket::sign(key, claims)))
    }

    #[test]
    fn good_ticket_is_a_login() {
        let claims = claims(NOW_UNIX_S + 30);
        assert_eq!(check_ticket(&service(), &claims), Ok(Login::Ticket(claims)));
    }

    #[test]
    fn ticket_of_either_good_key_is_a_login() {
        let claims = claims(NOW_UNIX_S + 30);
        for seed in [6, 7] {
            let key = SigningKey::from_bytes(&[seed; 32]);
            assert_eq!(check_ticket(&key, &claims), Ok(Login::Ticket(claims.clone())));
        }
    }

    #[test]
    fn ticket_of_another_key_is_invalid() {
        let other = SigningKey::from_bytes(&[8; 32]);
        assert_eq!(
            check_ticket(&other, &claims(NOW_UNIX_S + 30)),
            Err(RefusalCode::TicketInvalid)
        );
    }

    #[test]
    fn old_ticket_has_expired() {
        assert_eq!(
            check_ticket(&service(), &claims(NOW_UNIX_S - 60)),
            Err(RefusalCode::TicketExpired)
        );
    }

    #[test]
    fn ticket_for_ever_is_invalid() {
        assert_eq!(
            check_ticket(&service(), &claims(u64::MAX)),
            Err(RefusalCode::TicketInvalid)
        );
    }

    #[test]
    fn ticket_of_any_short_bytes_is_invalid() {
        for len in 0..200 {
            let credential = Credential::Ticket(vec![0xA5; len]);
            assert_eq!(
                check(PROTOCOL_VERSION, credential),
                Err(RefusalCode::TicketInvalid),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn other_version_is_refused_before_its_ticket_is_looked_at() {
        assert_eq!(
            check(PROTOCOL_VERSION + 1, Credential::Ticket(vec![])),
            Err(RefusalCode::Version)
        );
    }

    #[test]
    fn logout_as_first_message_is_malformed() {
        let key = service().verifying_key();
        let refused = check_hello(ClientMessage::Logout, &[key], &resume_keys(), NOW_UNIX_S);
        assert_eq!(refused.map_err(|refusal| refusal.code), Err(RefusalCode::Malformed));
    }

    fn resume(secret: [u8; SECRET_BYTES]) -> Credential {
        resume_in("north", secret)
    }

    fn resume_in(zone: &str, secret: [u8; SECRET_BYTES]) -> Credential {
        Credential::Resume {
            zone: zone.parse().expect("a zone name"),
            session: SessionId::new(2, 3),
            secret,
            epoch: Epoch(4),
            event_seq: 5,
        }
    }

    #[test]
    fn resume_with_a_secret_of_this_world_is_a_login_of_its_account() {
        let zone: ZoneName = "north".parse().expect("a zone name");
        let secret = resume_keys().make(Account(5), [9; SECRET_RANDOM_BYTES]);
        let login = Login::Resume(ResumeClaim {
            account: Account(5),
            zone,
            session: SessionId::new(2, 3),
            secret,
            epoch: Epoch(4),
            event_seq: 5,
        });
        assert_eq!(check(PROTOCOL_VERSION, resume(secret)), Ok(login));
    }

    #[test]
    fn player_that_is_led_to_another_zone_shows_the_secret_that_it_has() {
        let secret = resume_keys().make(Account(5), [9; SECRET_RANDOM_BYTES]);
        for zone in ["north", "south"] {
            let login = check(PROTOCOL_VERSION, resume_in(zone, secret)).expect("a secret of this world");
            assert!(
                matches!(
                    login,
                    Login::Resume(ResumeClaim {
                        account: Account(5),
                        ..
                    })
                ),
                "{login:?}"
            );
        }
    }

    #[test]
    fn resume_with_any_other_secret_is_of_no_session() {
        assert_eq!(
            check(PROTOCOL_VERSION, resume([9; SECRET_BYTES])),
            Err(RefusalCode::SessionUnknown)
        );
    }
}
