//! `everhold ticket`: what a login service would do, with the key in a directory.

use std::path::PathBuf;

use clap::Args;
use everhold_net::keys;
use everhold_os::clock;
use everhold_protocol::limits::TICKET_LIFETIME_S_MAX;
use everhold_protocol::ticket::{TicketClaims, sign};
use everhold_protocol::{Account, ZoneName};

/// Arguments of `everhold ticket`.
#[derive(Args)]
pub struct TicketArguments {
    /// The account that may log in.
    #[arg(long)]
    account: u64,
    /// The zone in which a new character is born.
    #[arg(long)]
    zone: ZoneName,
    /// Directory with `ticket.key`.
    #[arg(long, value_name = "DIR", default_value = ".everhold/keys")]
    keys: PathBuf,
}

/// Prints one ticket as hexadecimal digits; it is good once, for a minute.
pub fn run(arguments: &TicketArguments) -> anyhow::Result<()> {
    let key = keys::ticket_signing_key(&arguments.keys)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| anyhow::anyhow!("no randomness from the operating system: {e}"))?;
    let claims = TicketClaims {
        id,
        account: Account(arguments.account),
        zone: arguments.zone.clone(),
        expires_unix_s: clock::unix_s() + TICKET_LIFETIME_S_MAX,
    };
    let ticket = sign(&key, &claims);
    super::print(ticket.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
