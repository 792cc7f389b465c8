//! The password of a Redis stays secret: it is not in the process list, in a log, an event, or a report.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use everhold_testing::redis::{Persistence, RedisServer};

const PASSWORD: &str = "0penSesame/with?odd#letters";
/// The same in a URL.
const ENCODED: &str = "0penSesame%2Fwith%3Fodd%23letters";

fn everhold() -> Command {
    Command::new(env!("CARGO_BIN_EXE_everhold"))
}

fn locked_redis() -> RedisServer {
    let redis = RedisServer::start(Persistence::None);
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", PASSWORD]), "OK");
    redis
}

fn password_file(directory: &Path, mode: u32) -> String {
    let path = directory.join("password");
    std::fs::write(&path, format!("{PASSWORD}\n")).expect("a writable directory");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("an own file");
    path.to_string_lossy().into_owned()
}

/// The command lines of all processes there are.
fn process_list() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("a list of processes");
    let lines = processes.flatten().filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.collect()
}

fn assert_untold(what: &str, text: &str) {
    for secret in [PASSWORD, ENCODED, "0penSesame"] {
        assert!(!text.contains(secret), "{what} tells the password");
    }
}

/// Starts a shard, looks at the process list while it serves, stops it, and looks at everything that it said.
fn assert_a_shard_keeps_the_secret(mut command: Command, directory: &Path) {
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--events",
        "json",
        "--zone",
        "meadow",
        "--keys",
    ]);
    command.arg(directory.join("keys")).env("RUST_LOG", "trace");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut shard: Child = command.spawn().expect("a shard");
    let mut log = shard.stderr.take().expect("it is piped");
    let log = std::thread::spawn(move || {
        let mut text = Vec::new();
        log.read_to_end(&mut text)
            .map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let mut events = BufReader::new(shard.stdout.take().expect("it is piped")).lines();
    let mut told = Vec::new();
    let adopted = events.by_ref().map_while(Result::ok).any(|line| {
        told.push(line.clone());
        line.contains("\"adopted\"")
    });
    let list = process_list().join("\n");
    let pid = rustix::process::Pid::from_child(&shard);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    told.extend(events.map_while(Result::ok));
    let status = shard.wait().expect("a child");
    let log = log.join().expect("it reads").expect("to the end");
    assert!(adopted && status.success(), "{status}: {log}");
    assert!(list.contains("--guarded"), "guardian and server are listed");
    assert_untold("the process list", &list);
    assert_untold("an event", &told.join("\n"));
    assert_untold("the log", &log);
    assert!(log.len() > 1_000, "it was told at length");
}

#[test]
fn password_from_the_environment_or_a_file_is_in_no_process_list_log_or_event() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let redis = locked_redis();
    let mut command = everhold();
    let url = redis.url().replace("redis://", &format!("redis://:{ENCODED}@"));
    command.arg("shard").env("EVERHOLD_STORE_URL", &url);
    assert_a_shard_keeps_the_secret(command, directory.path());

    let file = password_file(directory.path(), 0o600);
    let mut command = everhold();
    command.args(["shard", "--store", &redis.url(), "--store-password-file", &file]);
    assert_a_shard_keeps_the_secret(command, directory.path());

    for mut command in [everhold(), everhold()] {
        command.arg("inspect").env("RUST_LOG", "trace");
        command.args(["--store", &redis.url(), "--store-password-file", &file]);
        let output = command.output().expect("an answer");
        assert!(output.status.success(), "{output:?}");
        let (said, log) = (text(&output.stdout), text(&output.stderr));
        assert!(said.contains("meadow"), "{said}");
        assert_untold("inspect", &said);
        assert_untold("the log of inspect", &log);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = everhold().args(arguments).output().expect("an answer");
    let said = text(&stderr);
    assert!(!status.success(), "{arguments:?}");
    assert!(
        !said.contains("s3cret") && !said.contains("0penSesame"),
        "the refusal tells the password"
    );
    assert!(
        status.code() == Some(64) || !said.contains("--store:"),
        "a usage error: {status}"
    );
    said
}

#[test]
fn password_in_the_arguments_is_refused_and_the_ways_that_are_open_are_named() {
    for url in [
        "redis://:s3cret@127.0.0.1:1",
        "redis://shard:s3cret@127.0.0.1:1",
        "rediss-sentinel://127.0.0.1:1?sentinelServiceName=world&sentinelPassword=s3cret",
        "redis-cluster://:s3cret/odd@127.0.0.1:1",
        ":s3cret@127.0.0.1",
    ] {
        for command in ["shard", "inspect", "demo"] {
            let said = refused(&[command, "--store", url]);
            for way in ["--store-password-file", "store.password_file", "EVERHOLD_STORE_URL"] {
                assert!(said.contains(way), "{command} {url}: {said}");
            }
        }
    }
}

#[test]
fn password_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = password_file(directory.path(), 0o644);
    let said = refused(&[
        "inspect",
        "--store",
        "redis://127.0.0.1:1",
        "--store-password-file",
        &file,
    ]);
    assert!(said.contains("chmod 600") && said.contains(&file), "{said}");
}

#[test]
fn demo_takes_url_and_password_file_from_the_environment_and_removes_its_keys() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let redis = locked_redis();
    let output = everhold()
        .args(["demo", "--players", "5", "--seconds", "1", "--kill", "never"])
        .env("TMPDIR", directory.path())
        .env("EVERHOLD_STORE_URL", redis.url())
        .env("EVERHOLD_STORE_PASSWORD_FILE", password_file(directory.path(), 0o600))
        .output()
        .expect("a report");
    assert!(output.status.success(), "{output:?}");
    assert_untold("the report", &text(&output.stdout));
    assert_untold("the log", &text(&output.stderr));
    let left = redis.command(&["-a", PASSWORD, "--no-auth-warning", "DBSIZE"]);
    assert_eq!(left, "0");
}

#[test]
fn configuration_file_that_others_can_read_may_not_hold_the_password() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("shard.toml");
    let name = file.to_string_lossy().into_owned();
    let lines = "[store]\nurl = \"redis://:s3cret@127.0.0.1:1\"\n";
    let write = |text: &str, mode| {
        std::fs::write(&file, text).expect("a writable directory");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("an own file");
    };
    for command in ["shard", "inspect"] {
        write(lines, 0o644);
        let said = refused(&[command, "--config", &name]);
        for word in [&name, "chmod 600", "store.password_file"] {
            assert!(said.contains(word), "{command}: {said}");
        }
        write("[store]\nurl = \"redis://127.0.0.1:1\"\n", 0o644);
        assert!(
            !refused(&["inspect", "--config", &name]).contains("chmod"),
            "it is no secret"
        );
    }
    write(lines, 0o600);
    let said = refused(&["inspect", "--config", &name]);
    assert!(said.contains("cannot connect"), "{said}");
}

#[test]
fn world_can_be_inspected_while_redis_refuses_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let redis = RedisServer::start_with(&["--enable-protected-configs", "yes"]);
    let mut command = everhold();
    command.args(["shard", "--store", &redis.url()]);
    assert_a_shard_keeps_the_secret(command, directory.path());
    let gone = directory.path().join("gone");
    std::fs::create_dir(&gone).expect("a writable directory");
    for words in [
        ["CONFIG", "SET", "dir", &gone.to_string_lossy()],
        ["CONFIG", "SET", "save", "3600 1"],
    ] {
        assert_eq!(redis.command(&words), "OK");
    }
    std::fs::remove_dir(&gone).expect("an empty directory");
    redis.wait_until("Redis cannot save", |redis| {
        let _begun = redis.command(&["BGSAVE"]);
        redis.command(&["PING"]).contains("MISCONF")
    });
    let output = everhold().args(["inspect", "--json", "--store", &redis.url()]).output();
    let output = output.expect("an answer");
    let (said, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("\"meadow\""), "{said} {log}");
    assert!(said.contains("checkpoint_tick"), "{said}");
}
