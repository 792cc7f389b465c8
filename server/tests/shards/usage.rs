//! Usage errors, typed or in the environment, are said once and in words; and a reader that stops listening to an
//! answer ends nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

fn everhold(directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everhold"));
    command.current_dir(directory.path());
    command
}

/// A shard that cannot start, since this world has no such zone.
fn shard_of_nowhere(environment: &[(&OsStr, &OsStr)]) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = everhold(&directory);
    command.args(["shard", "--zone", "nowhere", "--listen", "127.0.0.1:0"]);
    command.envs(environment.iter().copied());
    command.output().expect("it runs")
}

#[test]
fn a_usage_error_is_said_once_and_has_a_code_of_its_own() {
    let output = shard_of_nowhere(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert_eq!(
        said,
        "everhold: this world has no zone `nowhere`; it has forest, harbor, meadow\n"
    );
}

#[test]
fn other_programs_variables_are_in_no_shards_way() {
    let noise = OsStr::from_bytes(b"x\xff");
    let link = OsStr::new("udp://10.0.0.1:4001");
    let environment = [(noise, noise), (OsStr::new("EVERHOLD_PORT"), link)];
    assert_eq!(shard_of_nowhere(&environment).status.code(), Some(64));
    let said = String::from_utf8_lossy(&shard_of_nowhere(&environment).stderr).into_owned();
    assert!(said.starts_with("everhold: this world has no zone"), "{said}");
}

#[test]
fn a_cause_is_said_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Nobody has this address.
    let arguments = ["shard", "--no-guardian", "--listen", "203.0.113.1:4001"];
    let output = everhold(&directory).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("Cannot assign").count(), 1, "{said}");
    assert!(said.contains("203.0.113.1:4001"), "{said}");
}

#[test]
fn an_answer_that_nobody_reads_is_no_failure() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    everhold_net::keys::Keys::load_or_create(&directory.path().join(".everhold/keys")).expect("keys");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = everhold(&directory)
        .args(["ticket", "--account", "1", "--zone", "meadow"])
        .stdout(Stdio::from(writer))
        .status();
    assert_eq!(status.expect("it runs").code(), Some(0));
}

#[test]
fn inspect_needs_no_configuration_of_a_shard_and_makes_no_world() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let world = directory.path().join("world");
    std::fs::create_dir(&world).expect("a writable directory");
    let file = directory.path().join("shard.toml");
    // Each shard is told by a flag where players reach it.
    std::fs::write(&file, "[shard]\nlisten = \"0.0.0.0:4001\"\n").expect("a writable directory");
    let inspect = || {
        let mut command = everhold(&directory);
        command
            .arg("inspect")
            .arg("--config")
            .arg(&file)
            .arg("--state")
            .arg(&world);
        command.output().expect("it runs")
    };
    let output = inspect();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no world at"), "{said}");
    assert_eq!(
        std::fs::read_dir(&world).expect("a directory").count(),
        0,
        "it made one"
    );
    drop(everhold_store::sqlite::SqliteStore::open(&world).expect("a world"));
    let output = inspect();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_password_in_the_authoritys_url_is_refused_as_one_in_the_stores() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = everhold(&directory);
    command.args(["inspect", "--authority", "redis://:secret@127.0.0.1:1"]);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for way in [
        "--authority-password-file",
        "authority.password_file",
        "EVERHOLD_AUTHORITY_URL",
    ] {
        assert!(said.contains(way), "{said}");
    }
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_demo_touches_no_authority_of_another_world() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = everhold(&directory);
    command.args(["demo", "--players", "1", "--seconds", "1"]);
    let output = command.env("EVERHOLD_AUTHORITY_URL", "file:elsewhere").output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("EVERHOLD_AUTHORITY_URL"), "{said}");
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn a_shipped_server_has_no_sabotage_in_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flags = ["--failpoint", "--plant", "--stick", "--panic", "--burn-us-per-player"];
    for flag in flags {
        let output = everhold(&directory)
            .args(["shard", flag, "1"])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(&format!("unexpected argument '{flag}'")), "{said}");
    }
    // That they are spelled so is shown by the one that has them.
    for flag in flags {
        let sabotaged = Command::new(env!("CARGO_BIN_EXE_everhold-sabotaged"))
            .args(["shard", flag])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&sabotaged.stderr);
        assert_eq!(said, format!("everhold-sabotaged: {flag} needs a value\n"));
    }
}
