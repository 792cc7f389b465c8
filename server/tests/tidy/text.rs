//! Rules about files as text.

use crate::report;
use crate::source::{self, Source};

/// Longer files hold more than one thing.
const LINES_MAX: usize = 500;

/// The lines of code that contain one of `words`.
fn lines_with(source: &Source, words: &[&str]) -> Vec<usize> {
    let hit = |line: &str| words.iter().any(|word| line.contains(word));
    source
        .code
        .lines()
        .zip(1..)
        .filter(|(line, _)| hit(line))
        .map(|(_, number)| number)
        .collect()
}

#[test]
fn files_are_short_enough_to_read_at_once() {
    let long = source::all()
        .into_iter()
        .filter(|source| source.text.lines().count() > LINES_MAX);
    let mend = |source: Source| {
        let lines = source.text.lines().count();
        format!(
            "{}: {lines} lines, at most {LINES_MAX}: move what belongs together into a submodule",
            source.path
        )
    };
    report(&long.map(mend).collect::<Vec<_>>());
}

#[test]
fn files_begin_with_what_they_are() {
    let silent = source::all()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "));
    let mend = |source: Source| {
        format!(
            "{}:1: begin with `//!`: what it is, and what it does not do",
            source.path
        )
    };
    report(&silent.map(mend).collect::<Vec<_>>());
}

#[test]
fn modules_are_named_as_their_folders() {
    let old = source::all()
        .into_iter()
        .filter(|source| source.path.ends_with("/mod.rs"));
    let mend = |source: Source| {
        format!(
            "{0}: rename to {1}.rs",
            source.path,
            source.path.trim_end_matches("/mod.rs")
        )
    };
    report(&old.map(mend).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let macros = [concat!("todo", "!"), concat!("unimplemented", "!")];
    let mut breaches = Vec::new();
    for source in source::all() {
        let marked = source.text.lines().zip(1..).filter(|(line, _)| {
            line.split(|letter: char| !letter.is_alphanumeric())
                .any(|word| marks.contains(&word))
        });
        let marked = marked.map(|(_, number)| number).chain(lines_with(&source, &macros));
        breaches.extend(marked.map(|line| format!("{}:{line}: do it now, or take it out", source.path)));
    }
    report(&breaches);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut breaches = Vec::new();
    for source in source::all() {
        let lines = lines_with(&source, &["#[allow(", "#![allow("]);
        let mend = |line| format!("{}:{line}: mend it, or `#[expect(.., reason = \"..\")]`", source.path);
        breaches.extend(lines.into_iter().map(mend));
    }
    report(&breaches);
}

#[test]
fn every_test_runs() {
    let mut breaches = Vec::new();
    for source in source::all() {
        let lines = lines_with(&source, &["#[ignore"]);
        let mend = |line| {
            format!(
                "{}:{line}: a test that does not run tests nothing: make it run or delete it",
                source.path
            )
        };
        breaches.extend(lines.into_iter().map(mend));
    }
    report(&breaches);
}
