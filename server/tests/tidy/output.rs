//! The output of programs: nothing that can panic for want of a reader, and each cause once.

use crate::report;
use crate::source;

#[test]
fn nothing_prints_that_panics_if_nobody_reads() {
    let mut breaches = Vec::new();
    for name in source::CRATES {
        for source in source::shipped(name) {
            let printing = source
                .shipped()
                .into_iter()
                .filter(|(_, line)| ["println!(", "print!("].iter().any(|word| line.contains(word)));
            breaches.extend(printing.map(|(number, _)| {
                let path = &source.path;
                format!(
                    "{path}:{number}: `print!` and its kin panic if the output is closed: use `writeln!`, or the \
                     crate's display"
                )
            }));
        }
    }
    report(&breaches);
}

/// The message of each `#[error("..")]` of a file, and the text up to the next one or to the end of the type.
fn errors(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.match_indices("#[error(").map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let end = ["#[error(", "\n}\n"].iter().filter_map(|end| rest.find(end)).min();
        let item = &rest[..end.unwrap_or(rest.len())];
        let (message, fields) = item.split_once(")]").unwrap_or((item, ""));
        (text[..at].lines().count() + 1, message, fields)
    })
}

/// The name of the field that an error gives as its source, as its message would name it.
fn source_field(fields: &str) -> Option<&str> {
    if fields.contains("(#[from]") || fields.contains("(#[source]") {
        return Some("0");
    }
    if let Some((_, after)) = fields.split_once("#[source]\n") {
        return after.trim_start().trim_start_matches("pub ").split(':').next();
    }
    fields
        .lines()
        .any(|line| line.trim().starts_with("source:"))
        .then_some("source")
}

fn tells_its_source_twice(message: &str, fields: &str) -> bool {
    source_field(fields).is_some_and(|field| {
        [format!("{{{field}}}"), format!("{{{field}:")]
            .iter()
            .any(|named| message.contains(named))
    })
}

#[test]
fn a_cause_is_told_by_its_source_alone() {
    let mut breaches = Vec::new();
    for source in source::all() {
        let twice = errors(&source.text).filter(|(_, message, fields)| tells_its_source_twice(message, fields));
        breaches.extend(twice.map(|(line, ..)| {
            let path = &source.path;
            format!("{path}:{line}: `{{:#}}` tells the source after the message: take it out of the message")
        }));
    }
    report(&breaches);
}

#[test]
fn messages_with_their_source_are_found() {
    let errors: Vec<bool> = [
        ("\"a {0}\"", "\n    A(#[from] Error),\n"),
        ("\"a {source}\"", "\n    A {\n        source: Error,\n"),
        (
            "\"a {cause:?}\"",
            "\n    A {\n        #[source]\n        cause: Error,\n",
        ),
        (
            "\"a {path}\"",
            "\n    A {\n        path: PathBuf,\n        source: Error,\n",
        ),
        ("\"a {0}\"", "\n    A(String),\n"),
    ]
    .iter()
    .map(|(message, fields)| tells_its_source_twice(message, fields))
    .collect();
    assert_eq!(errors, [true, true, true, false, false]);
}
