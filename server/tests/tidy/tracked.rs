//! No file that a build or a run has made is in git.

use std::process::Command;

use crate::report;
use crate::source::root;

/// Whether a build or a run makes a file of this path.
fn is_made(path: &str) -> bool {
    path.split('/').any(|part| part == "target") || [".profraw", ".db-wal"].iter().any(|end| path.ends_with(end))
}

#[test]
fn no_build_output_is_in_git() {
    if !root().join(".git").exists() {
        return;
    }
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git can be run in its checkout");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    assert!(paths.len() > 300, "git lists the repository's files");
    let made = paths.iter().filter(|path| is_made(path));
    let made = made.map(|path| format!("{path}: take it out of git (`git rm --cached`), and name it in .gitignore"));
    report(&made.collect::<Vec<_>>());
}

#[test]
fn build_output_is_known_by_its_path() {
    assert!(is_made("benches/target/criterion/x.json") && is_made("target/debug/a"));
    assert!(!is_made("server/store/src/redis/target.rs"));
}
