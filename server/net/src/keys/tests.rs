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
fn parts(keys: &Keys) -> [Vec<u8>; 5] {
    [
        keys.ticket_signing_key()
            .map(|key| key.to_bytes().to_vec())
            .unwrap_or_default(),
        keys.ticket_verifying_keys()[0].to_bytes().to_vec(),
        keys.certificates()[0].to_vec(),
        keys.tls_key.secret_der().to_vec(),
        keys.quic_secret.to_vec(),
    ]
}

#[test]
fn first_run_makes_secrets_for_the_owner_and_public_files_for_everybody() {
    let root = dir();
    let keys_dir = root.path().join("state/keys");
    Keys::load_or_create(&keys_dir).expect("keys are made");
    assert_eq!(mode(&keys_dir), 0o755);
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
        let is_public = ["ticket.pub", "tls-cert.pem"].contains(&name.as_str());
        let expected = if is_public { 0o644 } else { 0o600 };
        assert_eq!(mode(&keys_dir.join(&name)), expected, "{name}");
    }
}

#[test]
fn second_run_reads_the_keys_of_the_first() {
    let dir = dir();
    let first = Keys::load_or_create(dir.path()).expect("keys are made");
    let second = Keys::load_or_create(dir.path()).expect("keys are read");
    assert_eq!(parts(&first), parts(&second));
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
        assert!(all.iter().all(|keys| parts(keys) == parts(&all[0])));
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
    assert_eq!(public.ticket_verifying_keys(), whole.ticket_verifying_keys());
    assert!(!dir.path().join("ticket.key").exists());
}

#[test]
fn key_of_a_certificate_that_is_gone_is_missed_and_not_made_anew() {
    let dir = dir();
    Keys::load_or_create(dir.path()).expect("keys are made");
    let path = dir.path().join("tls-key.pem");
    fs::remove_file(&path).expect("removed");
    let error = Keys::load_or_create(dir.path()).expect_err("it was not made so");
    assert!(
        matches!(&error, KeysError::Missing { path: missing, .. } if *missing == path),
        "{error}"
    );
    assert!(!path.exists());
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

#[test]
fn file_or_directory_that_others_can_write_is_refused() {
    for name in ["ticket.pub", "tls-cert.pem", ""] {
        let dir = dir();
        Keys::load_or_create(dir.path()).expect("keys are made");
        let path = dir.path().join(name);
        for bits in [0o020, 0o002] {
            let mode = mode(&path) | bits;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            let error = Keys::load_or_create(dir.path()).expect_err("others can write it");
            assert!(matches!(error, KeysError::Writable { .. }), "{name}: {error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !bits)).expect("changed");
        }
        Keys::load_or_create(dir.path()).expect("only its owner can");
    }
}

#[test]
fn directory_to_which_others_can_only_add_is_accepted_as_mounted_secrets_are() {
    let dir = dir();
    Keys::load_or_create(dir.path()).expect("keys are made");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).expect("changed");
    Keys::load_or_create(dir.path()).expect("nobody can replace a file of another");
}

#[test]
fn login_key_of_small_order_is_refused() {
    let dir = dir();
    Keys::load_or_create(dir.path()).expect("keys are made");
    fs::remove_file(dir.path().join("ticket.key")).expect("removed");
    let weak = format!("01{}\n", "00".repeat(31));
    fs::write(dir.path().join("ticket.pub"), weak).expect("written");
    let error = Keys::load_or_create(dir.path()).expect_err("anybody could sign with it");
    assert!(matches!(error, KeysError::Weak { .. }), "{error}");
}

/// Rotates all keys in a directory of their own. Returns the keys of each stage.
fn stages() -> Vec<Keys> {
    let dir = dir();
    make(dir.path()).expect("keys are made");
    let mut stages = vec![Keys::load_or_create(dir.path()).expect("keys are read")];
    for stage in [RotationStage::Add, RotationStage::Switch, RotationStage::Drop] {
        for kind in KeyKind::ALL {
            rotate(dir.path(), kind, stage).expect("in order");
        }
        stages.push(Keys::load_or_create(dir.path()).expect("shards start at every stage"));
    }
    assert_eq!(
        fs::read_dir(dir.path()).expect("it is there").count(),
        5,
        "no stray files"
    );
    stages
}

#[test]
fn each_stage_of_a_rotation_shares_keys_with_the_next_and_the_last_has_none_of_the_first() {
    let stages = stages();
    let prints: Vec<_> = stages.iter().map(Keys::fingerprints).collect();
    for pair in prints.windows(2) {
        assert_eq!(pair[0].differs_from(&pair[1]), None, "{pair:?}");
    }
    for kind in KeyKind::ALL {
        assert!(
            prints[3]
                .of(kind)
                .iter()
                .all(|print| !prints[0].of(kind).contains(print))
        );
        let counts: Vec<_> = prints.iter().map(|print| print.of(kind).len()).collect();
        assert_eq!(counts, [1, 2, 2, 1], "{kind:?}");
    }
}

#[test]
fn rotation_adds_before_it_uses_and_uses_before_it_drops() {
    let [before, added, switched, dropped] = &stages()[..] else {
        panic!("four stages");
    };
    // Clients that trust what is good at one stage trust what is presented at the next.
    assert_eq!(before.certificates()[0], added.certificates()[0]);
    assert!(added.certificates().contains(&switched.certificates()[0]));
    assert_ne!(before.certificates()[0], switched.certificates()[0]);
    assert_eq!(switched.certificates()[0], dropped.certificates()[0]);
    // The login service signs with a key that is good one stage before.
    let signer = |keys: &Keys| keys.ticket_signing_key().expect("the whole directory").verifying_key();
    assert_eq!(signer(before), signer(added));
    assert!(added.ticket_verifying_keys().contains(&signer(switched)));
    assert_eq!(dropped.ticket_verifying_keys(), [signer(switched)]);
    for keys in [before, added, switched, dropped] {
        keys.server_crypto().expect("certificate and key belong together");
    }
}

#[test]
fn stage_out_of_order_is_refused_and_one_that_was_taken_before_changes_nothing() {
    for kind in KeyKind::ALL {
        let dir = dir();
        make(dir.path()).expect("keys are made");
        let unchanged = |attempt: &dyn Fn()| {
            let before = inventory(dir.path()).expect("readable");
            attempt();
            assert_eq!(inventory(dir.path()).expect("readable"), before);
        };
        let refused = |stage| {
            unchanged(&|| {
                let error = rotate(dir.path(), kind, stage).expect_err("out of order");
                assert!(matches!(error, KeysError::Stage { .. }), "{error}");
            });
        };
        let taken_before = |stage| unchanged(&|| assert_eq!(rotate(dir.path(), kind, stage).ok(), Some(false)));
        let taken = |stage| {
            assert_eq!(rotate(dir.path(), kind, stage).ok(), Some(true));
            taken_before(stage);
        };
        refused(RotationStage::Switch);
        taken_before(RotationStage::Drop);
        taken(RotationStage::Add);
        refused(RotationStage::Drop);
        taken(RotationStage::Switch);
        refused(RotationStage::Add);
        taken(RotationStage::Drop);
        refused(RotationStage::Switch);
    }
}

#[test]
fn stage_that_was_cut_off_between_two_files_is_finished_by_running_it_again() {
    for (kind, set, next) in [
        (KeyKind::Login, "ticket.pub", "ticket-next.key"),
        (KeyKind::Certificate, "tls-cert.pem", "tls-key-next.pem"),
        (KeyKind::Quic, "quic.key", "quic-next.key"),
    ] {
        let dir = dir();
        make(dir.path()).expect("keys are made");
        let before = fs::read(dir.path().join(set)).expect("there");
        rotate(dir.path(), kind, RotationStage::Add).expect("in order");
        // As if the second file had not been written.
        fs::write(dir.path().join(set), &before).expect("written");
        Keys::load_or_create(dir.path()).expect("shards start");
        rotate(dir.path(), kind, RotationStage::Switch).expect_err("nobody takes the new key yet");
        let waiting = fs::read(dir.path().join(next)).expect("there");
        rotate(dir.path(), kind, RotationStage::Add).expect("again");
        assert_eq!(fs::read(dir.path().join(next)).expect("there"), waiting);
        rotate(dir.path(), kind, RotationStage::Switch).expect("in order");
        // As if the waiting key had not been removed.
        fs::write(dir.path().join(next), &waiting).expect("written");
        fs::set_permissions(dir.path().join(next), fs::Permissions::from_mode(0o600)).expect("changed");
        Keys::load_or_create(dir.path()).expect("shards start");
        rotate(dir.path(), kind, RotationStage::Switch).expect("again");
        rotate(dir.path(), kind, RotationStage::Drop).expect("in order");
    }
}

#[test]
fn copy_for_shards_has_no_login_secret_and_is_of_the_same_world() {
    let (home, host) = (dir(), dir());
    make(home.path()).expect("keys are made");
    let to = host.path().join("keys");
    export(home.path(), Recipient::Shard, &to).expect("copied");
    let (whole, copy) = (
        Keys::load_or_create(home.path()).expect("read"),
        Keys::load_or_create(&to).expect("read"),
    );
    assert_eq!(copy.fingerprints(), whole.fingerprints());
    assert!(copy.ticket_signing_key().is_none() && !to.join("ticket.key").exists());
    rotate(&to, KeyKind::Login, RotationStage::Add).expect_err("keys are rotated where all of them are");
}

#[test]
fn keys_are_not_made_where_there_are_some() {
    let dir = dir();
    make(dir.path()).expect("keys are made");
    assert!(matches!(make(dir.path()), Err(KeysError::Present { .. })));
}

#[test]
fn inventory_shows_the_fingerprints_that_shards_announce_and_no_secret() {
    let dir = dir();
    let keys = Keys::load_or_create(dir.path()).expect("keys are made");
    let shown = format!("{:?}", inventory(dir.path()).expect("readable"));
    for kind in KeyKind::ALL {
        assert!(shown.contains(&keys.fingerprints().of(kind)[0].to_string()), "{shown}");
    }
    for name in ["ticket.key", "quic.key", "tls-key.pem"] {
        let secret = fs::read_to_string(dir.path().join(name)).expect("there");
        let line = secret
            .lines()
            .find(|line| !line.starts_with('-'))
            .expect("a line of it");
        assert!(!shown.contains(line) && !shown.contains(&line[..16]), "{name}");
    }
}

/// A moment long before the end of a new certificate.
const NOW_UNIX_S: u64 = 1_800_000_000;

#[test]
fn check_finds_what_a_start_would_refuse_all_at_once() {
    let dir = dir();
    make(dir.path()).expect("keys are made");
    assert!(check(dir.path(), NOW_UNIX_S).is_empty());
    fs::set_permissions(dir.path().join("quic.key"), fs::Permissions::from_mode(0o640)).expect("changed");
    fs::write(dir.path().join("ticket.pub"), "nothing").expect("written");
    let findings = check(dir.path(), NOW_UNIX_S);
    let [Finding::Fault(first), Finding::Fault(second)] = &findings[..] else {
        panic!("two faults: {findings:?}");
    };
    assert!(matches!(first, KeysError::Malformed { .. }) && matches!(second, KeysError::Exposed { .. }));
}

#[test]
fn certificate_that_will_expire_is_a_warning() {
    let dir = dir();
    make(dir.path()).expect("keys are made");
    let pem = fs::read_to_string(dir.path().join("tls-key.pem")).expect("there");
    let key = rcgen::KeyPair::from_pem(&pem).expect("a key");
    let mut params = rcgen::CertificateParams::new(SERVER_NAMES.map(str::to_owned)).expect("names");
    params.not_after = rcgen::date_time_ymd(2_027, 1, 31);
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    fs::write(dir.path().join("tls-cert.pem"), certificate).expect("written");
    // 31 January 2027 begins at 1,801,353,600.
    for (now_unix_s, word) in [
        (1_798_000_000, None),
        (1_800_000_000, Some("expires in")),
        (1_801_500_000, Some("expired")),
    ] {
        let findings = check(dir.path(), now_unix_s);
        match (&findings[..], word) {
            ([], None) => {}
            ([Finding::Warning(text)], Some(word)) => assert!(text.contains(word), "{text}"),
            _ => panic!("{now_unix_s}: {findings:?}"),
        }
    }
}
