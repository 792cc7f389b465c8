//! Keys on a real disk, also with several makers at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

/// Everything that two processes have to agree on.
fn fingerprint(keys: &Keys) -> [Vec<u8>; 5] {
    [
        keys.ticket_signing_key()
            .map(|key| key.to_bytes().to_vec())
            .unwrap_or_default(),
        keys.ticket_verifying_key().to_bytes().to_vec(),
        keys.certificate().to_vec(),
        keys.tls_key.secret_der().to_vec(),
        keys.quic_secret.to_vec(),
    ]
}

#[test]
fn first_run_makes_keys_that_only_the_owner_can_read() {
    let root = dir();
    let keys_dir = root.path().join("state/keys");
    Keys::load_or_create(&keys_dir).expect("keys are made");
    assert_eq!(mode(&keys_dir), 0o700);
    let mut names: Vec<_> = fs::read_dir(&keys_dir)
        .expect("the directory is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["quic.key", "ticket.key", "ticket.pub", "tls-cert.pem", "tls-key.pem"]
    );
    for name in names {
        assert_eq!(mode(&keys_dir.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn second_run_reads_the_keys_of_the_first() {
    let dir = dir();
    let first = Keys::load_or_create(dir.path()).expect("keys are made");
    let second = Keys::load_or_create(dir.path()).expect("keys are read");
    assert_eq!(fingerprint(&first), fingerprint(&second));
    second.server_crypto().expect("certificate and key belong together");
}

#[test]
fn makers_that_start_together_agree() {
    for _ in 0..20 {
        let dir = dir();
        let start = std::sync::Barrier::new(8);
        let all: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Keys::load_or_create(dir.path()).expect("keys are made or read")
                    })
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().expect("no panic"))
                .collect()
        });
        assert!(all.iter().all(|keys| fingerprint(keys) == fingerprint(&all[0])));
        all[7].server_crypto().expect("certificate and key belong together");
        assert_eq!(
            fs::read_dir(dir.path()).expect("the directory is there").count(),
            5,
            "no stray files"
        );
    }
}

#[test]
fn seed_file_is_the_seed_in_hexadecimal() {
    let dir = dir();
    let keys = Keys::load_or_create(dir.path()).expect("keys are made");
    let text = fs::read_to_string(dir.path().join("ticket.key")).expect("the file is there");
    let seed = keys.ticket_signing_key().expect("a signing key").to_bytes();
    assert_eq!(text, hex_line(&seed));
    assert_eq!(text.len(), 65);
}

#[test]
fn public_half_alone_verifies_and_makes_no_other_secret() {
    let dir = dir();
    let whole = Keys::load_or_create(dir.path()).expect("keys are made");
    fs::remove_file(dir.path().join("ticket.key")).expect("removed");
    let public = Keys::load_or_create(dir.path()).expect("keys are read");
    assert!(public.ticket_signing_key().is_none());
    assert_eq!(public.ticket_verifying_key(), whole.ticket_verifying_key());
    assert!(!dir.path().join("ticket.key").exists());
}

#[test]
fn public_half_of_another_seed_is_refused() {
    let (dir, other) = (dir(), dir());
    Keys::load_or_create(dir.path()).expect("keys are made");
    Keys::load_or_create(other.path()).expect("keys are made");
    fs::copy(other.path().join("ticket.pub"), dir.path().join("ticket.pub")).expect("copied");
    let error = Keys::load_or_create(dir.path()).expect_err("the halves do not fit");
    assert!(matches!(error, KeysError::Mismatch { .. }), "{error}");
}

#[test]
fn secret_that_others_can_read_is_refused() {
    for name in ["ticket.key", "tls-key.pem", "quic.key"] {
        let dir = dir();
        Keys::load_or_create(dir.path()).expect("keys are made");
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o644)).expect("changed");
        let error = Keys::load_or_create(dir.path()).expect_err("others can read it");
        assert!(
            matches!(error, KeysError::Exposed { mode: 0o644, .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn file_that_is_no_key_is_named_in_the_error() {
    for name in ["ticket.key", "ticket.pub", "tls-cert.pem", "tls-key.pem", "quic.key"] {
        let dir = dir();
        Keys::load_or_create(dir.path()).expect("keys are made");
        fs::write(dir.path().join(name), "é".repeat(32)).expect("written");
        let error = Keys::load_or_create(dir.path()).expect_err("it is no key");
        assert!(
            matches!(&error, KeysError::Malformed { path, .. } if path.ends_with(name)),
            "{name}: {error}"
        );
    }
}

#[test]
fn directory_that_cannot_be_made_is_named_in_the_error() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let error = Keys::load_or_create(&file.join("keys")).expect_err("a file is no directory");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
