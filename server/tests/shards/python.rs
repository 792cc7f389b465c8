//! A client in another language, written from the protocol's document alone: it logs in, walks, trades, and survives a
//! kill.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ed25519_dalek::SigningKey;
use everhold_protocol::Account;
use everhold_protocol::limits::TICKET_LIFETIME_S_MAX;
use everhold_protocol::ticket::{TicketClaims, sign};

use crate::world::{World, all_zones, meadow};

const GIFTS: usize = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The interpreter with what the client needs, which `make python` installs.
fn python() -> PathBuf {
    let path = root().join("target/python/bin/python");
    assert!(path.is_file(), "{} is missing: run `make python`", path.display());
    path
}

/// The usual world, but players of the meadow are born twelve metres apart, and nothing bites them there.
fn meeting_place() -> String {
    let mut world: toml::Table = include_str!("../../../assets/world.toml")
        .parse()
        .expect("a world file");
    let zones = world["zone"].as_array_mut().expect("zones");
    let meadow = zones[0].as_table_mut().expect("a zone");
    let point = |x: i64, y: i64| toml::Value::from(vec![x, y]);
    meadow.insert(
        "spawns".to_owned(),
        vec![point(30_000, 40_000), point(31_200, 40_000)].into(),
    );
    meadow.insert("camps".to_owned(), toml::Value::Array(Vec::new()));
    world.to_string()
}

fn ticket(key: &SigningKey, account: u8) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let claims = TicketClaims {
        id: [account; 16],
        account: Account(account.into()),
        zone: meadow(),
        expires_unix_s: now.as_secs() + TICKET_LIFETIME_S_MAX,
    };
    sign(key, &claims).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The client's process, which ends with the test.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start(world: &World) -> Client {
    let key = world.keys.ticket_signing_key().expect("development keys can sign");
    let mut command = Command::new(python());
    command
        .arg("-B")
        .arg(root().join("protocol/examples/python/trade.py"))
        .arg("--certificate")
        .arg(world.cluster.keys().join("tls-cert.pem"))
        .args(["--gifts", &GIFTS.to_string()]);
    for account in 1..=2 {
        command.args(["--ticket", &ticket(key, account)]);
    }
    // The spare is asked first: it redirects.
    for process in world.cluster.all.iter().rev() {
        command.args(["--connect", &process.addr.to_string()]);
    }
    Client(command.stdout(Stdio::piped()).spawn().expect("python starts"))
}

#[test]
fn a_client_written_from_the_document_trades_through_a_kill() {
    let mut world = World::with_default_leases();
    let rules = world.cluster.keys().with_file_name("meeting.toml");
    std::fs::write(&rules, meeting_place()).expect("a writable directory");
    let lines = format!("[world]\nrules = {:?}\n", rules.to_string_lossy());
    let owner = world.shard_configured(&all_zones(), &lines);
    world.shard_configured(&[], &lines);
    let mut client = start(&world);
    let mut told = BufReader::new(client.0.stdout.take().expect("it is piped")).lines();
    let mut until = |what: &str| {
        let mark = format!("\"what\": \"{what}\"");
        let mut lines = told.by_ref().map(|line| line.expect("text"));
        lines
            .find(|line| line.contains(&mark))
            .unwrap_or_else(|| panic!("the client ended before it was {what}"))
    };
    until("trading");
    world.cluster.kill(owner).expect("the owner lives");
    let traded: serde_json::Value = serde_json::from_str(&until("traded")).expect("a line of JSON");
    let count = |what: &str| traded[what].as_u64().unwrap_or_default();
    assert_eq!(
        count("given") + count("rejected"),
        GIFTS as u64,
        "each gift is answered once: {traded}"
    );
    for attaches in traded["attaches"].as_array().expect("two players") {
        let epochs: Vec<_> = attaches
            .as_array()
            .expect("attaches")
            .iter()
            .map(|attach| attach["epoch"].as_u64())
            .collect();
        assert_eq!(epochs, [Some(1), Some(2)], "it came back after the kill: {traded}");
    }
    assert!(client.0.wait().expect("it ends").success());
}
