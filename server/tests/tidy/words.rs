//! Words: what can be counted of them may only become less. A count below its bound is a failure, too: then the bound
//! falls with it.

use std::collections::BTreeMap;

use crate::report;
use crate::source::{self, CRATES, Source};

/// Names that two types may bear, because they are the same thing at either end of a link. Every other name has one
/// type: one word has one meaning.
const SHARED_TYPE_NAMES: [&str; 4] = ["Link", "LinkContext", "LinkStatus", "Wire"];

/// Doc comments that begin with a question word instead of their subject or verb: see [`asks`]. None is allowed.
const QUESTIONS: usize = 0;

/// Doc comments with a pronoun where a role has a name: see [`names_no_role`]. None is allowed.
const NAMELESS_ROLES: usize = 0;

/// Doc comments of a single word. None is allowed.
const SINGLE_WORDS: usize = 0;

/// Lines of more than [`COLUMNS_MAX`] columns. None is allowed.
const LONG_LINES: usize = 0;

/// Columns that fit beside another file, and on a page.
const COLUMNS_MAX: usize = 120;

/// Compares the places where something was found with its bound.
fn judge(what: &str, found: &[String], bound: usize) {
    let breaches = match found.len() {
        count if count > bound => {
            let mut all = found.to_vec();
            all.insert(
                0,
                format!("{what}: {count}, at most {bound}; these are all of them, mend yours:"),
            );
            all
        }
        count if count < bound => vec![format!(
            "{what}: {count} are left, so let the bound fall from {bound} to {count}"
        )],
        _ => Vec::new(),
    };
    report(&breaches);
}

/// The name of the type that a line of code defines.
fn defined_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub(") {
        Some(scoped) => scoped.split_once(") ").map_or(line, |(_, item)| item),
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let rest = ["struct ", "enum ", "trait "]
        .iter()
        .find_map(|kind| line.strip_prefix(kind))?;
    let end = rest
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

#[test]
fn one_word_names_one_type() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in CRATES.iter().flat_map(|folder| source::shipped(folder)) {
        for (number, line) in source.shipped() {
            if let Some(name) = defined_type(&line) {
                places
                    .entry(name.to_owned())
                    .or_default()
                    .push(format!("{}:{number}", source.path));
            }
        }
    }
    assert!(places.len() > 200, "the types are where they were");
    let shared = |name: &str| places.get(name).is_some_and(|places| places.len() > 1);
    let unlisted = places
        .iter()
        .filter(|(name, _)| shared(name) && !SHARED_TYPE_NAMES.contains(&name.as_str()));
    let mut breaches: Vec<String> = unlisted
        .map(|(name, places)| format!("{name}: one word for several types: {}", places.join(", ")))
        .collect();
    let stale = SHARED_TYPE_NAMES.iter().filter(|name| !shared(name));
    breaches.extend(stale.map(|name| format!("{name}: has one type now, so take it off the list")));
    report(&breaches);
}

/// The doc comments of a file, each with the number of its first line.
fn docs(source: &Source) -> Vec<(usize, Vec<&str>)> {
    let mut docs: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(source.text.lines()) {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match text {
            Some(text) if inside => docs.last_mut().expect("one has begun").1.push(text.trim()),
            Some(text) => docs.push((number, vec![text.trim()])),
            None => {}
        }
        inside = text.is_some();
    }
    docs
}

/// The places of all doc comments that `is_bad` says so of.
fn bad_docs(is_bad: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in source::all() {
        let bad = docs(&source).into_iter().filter(|(_, lines)| is_bad(lines));
        found.extend(bad.map(|(number, lines)| format!("{}:{number}: {}", source.path, lines[0])));
    }
    found
}

fn asks(lines: &[&str]) -> bool {
    let first = lines[0]
        .split(|letter: char| !letter.is_alphabetic())
        .next()
        .unwrap_or_default();
    [
        "What", "Who", "Whom", "Whose", "Which", "When", "Where", "Why", "How", "Whoever", "Whatever",
    ]
    .contains(&first)
}

fn names_no_role(lines: &[&str]) -> bool {
    let words = lines
        .iter()
        .flat_map(|line| line.split(|letter: char| !letter.is_alphabetic()));
    words.into_iter().any(|word| {
        let word = word.to_ascii_lowercase();
        ["whoever", "whom", "whomever", "nobody"].contains(&word.as_str())
    })
}

fn is_one_word(lines: &[&str]) -> bool {
    let [line] = lines else { return false };
    !line.contains(' ') && line.ends_with('.')
}

#[test]
fn docs_begin_with_their_subject_or_verb() {
    judge("docs that begin with a question word", &bad_docs(asks), QUESTIONS);
}

#[test]
fn docs_name_roles() {
    judge(
        "docs with a role that has no name",
        &bad_docs(names_no_role),
        NAMELESS_ROLES,
    );
}

#[test]
fn docs_are_sentences() {
    judge("docs of one word", &bad_docs(is_one_word), SINGLE_WORDS);
}

#[test]
fn lines_fit() {
    let mut long = Vec::new();
    for source in source::all() {
        let lines = (1..)
            .zip(source.text.lines())
            .filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
        long.extend(lines.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    judge("lines of more than 120 columns", &long, LONG_LINES);
}

#[test]
fn words_are_told_apart() {
    assert!(asks(&["Which zone."]) && !asks(&["Whether it runs."]) && !asks(&["Returns what is due."]));
    assert!(names_no_role(&["The zone", "that nobody owns."]) && !names_no_role(&["The zone without an owner."]));
    assert!(is_one_word(&["Which."]) && !is_one_word(&["Its name."]) && !is_one_word(&["Why.", "Because."]));
    assert_eq!(defined_type("    pub(crate) struct Thing<'a> {"), Some("Thing"));
    assert_eq!(defined_type("pub(in crate::redis) enum Node {"), Some("Node"));
    assert_eq!(defined_type("let structure = 1;"), None);
}
