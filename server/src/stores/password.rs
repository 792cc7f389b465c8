//! A Redis's URL and password, the password from a file that only its owner can read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use everhold_store::redis::RedisTarget;

use super::others_mode;
use crate::config::StoreConfig;

/// The longest password, bytes: far above any that somebody makes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// The Redis of a configuration, with the password from its file.
///
/// # Errors
/// If the configuration names no Redis, or its URL or its password file cannot be read.
pub(super) fn target(config: &StoreConfig) -> anyhow::Result<RedisTarget> {
    let StoreConfig::Redis {
        url,
        password_file,
        namespace,
        section,
    } = config
    else {
        anyhow::bail!("it is no Redis");
    };
    let target = RedisTarget::new(url, namespace)?;
    let Some(path) = password_file else {
        return Ok(target);
    };
    let password = read_password(path).with_context(|| format!("{section}.password_file {}", path.display()))?;
    Ok(target.with_password(password)?)
}

/// Reads the first line of a file that only its owner may read.
pub(super) fn read_password(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path)?;
    if let Some(mode) = others_mode(&file)? {
        anyhow::bail!("can be read by others (mode {mode:o}): run chmod 600 on it");
    }
    let mut text = Vec::new();
    // One byte more, and its end if it has one.
    file.take(PASSWORD_BYTES_MAX + 2).read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    anyhow::ensure!(
        line.len() as u64 <= PASSWORD_BYTES_MAX,
        "its first line is longer than {PASSWORD_BYTES_MAX} bytes: that is no password"
    );
    let password = std::str::from_utf8(line).context("its first line is no UTF-8 text")?;
    anyhow::ensure!(
        !password.is_empty(),
        "its first line is empty: the password belongs there"
    );
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn password_is_the_first_line_of_a_file_that_nobody_else_can_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("password");
        let set = |text: &str, mode| {
            std::fs::write(&path, text).expect("a writable directory");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("an own file");
            read_password(&path)
        };
        assert_eq!(set("s3cret /?#\n", 0o600).expect("a password"), "s3cret /?#");
        assert_eq!(set("s3cret", 0o400).expect("a password"), "s3cret");
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let error = set("s3cret\n", mode)
                .expect_err("others can read or write it")
                .to_string();
            assert!(error.contains("chmod 600") && !error.contains("s3cret"), "{error}");
        }
        assert!(set("\ns3cret", 0o600).is_err(), "an empty first line");
        let longest = "x".repeat(4_096);
        for end in ["", "\n", "\r\n", "\nand more", &format!("\n{longest}")] {
            assert_eq!(set(&format!("{longest}{end}"), 0o600).expect("a password"), longest);
        }
        for end in ["x", "x\n", &longest] {
            let error = set(&format!("{longest}{end}"), 0o600).expect_err("it would be cut");
            assert!(error.to_string().contains("4096 bytes"), "{error}");
        }
        assert!(read_password(&directory.path().join("none")).is_err());
    }
}
