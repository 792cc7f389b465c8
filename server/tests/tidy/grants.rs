//! Grants are made by authorities alone. An epoch is a number that any code may name; the right to write comes with a
//! grant, and the compiler cannot tell who made one.

use crate::report;
use crate::source::{self, CRATES, Source};

/// Files that may call `Grant::issue`: the authorities, and the guardian, which decodes what its server was granted.
const ISSUERS: [&str; 4] = [
    "server/store/src/sqlite/authority.rs",
    "server/store/src/redis/authority.rs",
    "server/sim/src/authority.rs",
    "server/core/src/ownership/guardian.rs",
];

/// Folders of code that holds no zone of players: benches, models, and the suites that stores are tried with.
const REHEARSALS: [&str; 3] = ["benches/", "server/models/", "server/store/src/conformance/"];

/// The lines of a file, without its tests, that make a grant.
fn issues(source: &Source) -> Vec<usize> {
    let names_it = |line: &str| {
        let mut after = line.split("::issue").skip(1);
        after.any(|rest| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
    };
    let lines = source.shipped().into_iter();
    lines
        .filter_map(|(number, line)| names_it(&line).then_some(number))
        .collect()
}

fn may_issue(path: &str) -> bool {
    ISSUERS.contains(&path) || REHEARSALS.iter().any(|folder| path.starts_with(folder))
}

#[test]
fn only_an_authority_makes_a_grant() {
    let mut breaches = Vec::new();
    let mut issuers = Vec::new();
    for source in CRATES.iter().flat_map(|folder| source::shipped(folder)) {
        let lines = issues(&source);
        if may_issue(&source.path) {
            issuers.extend((!lines.is_empty()).then(|| source.path.clone()));
            continue;
        }
        breaches.extend(lines.into_iter().map(|line| {
            let path = &source.path;
            format!("{path}:{line}: only an authority issues a grant: pass on the one that it answered")
        }));
    }
    for issuer in ISSUERS {
        if !issuers.iter().any(|path| path == issuer) {
            breaches.push(format!("{issuer} issues no grant any more: take it out of `ISSUERS`"));
        }
    }
    report(&breaches);
}

#[test]
fn grants_made_elsewhere_are_found() {
    let text = "fn a() -> Grant {\n    Grant::issue(epoch, nonce) // Grant::issue\n}\n\
                #[cfg(test)]\nmod tests {\n    fn b() { Grant::issue(epoch, nonce); }\n}\n\
                let c = epochs.map(|epoch| ownership::Grant::issue(epoch, ME));\nSecrets::issued(d);\n\
                let make = Grant::issue;\n";
    let source = Source {
        path: "server/src/host.rs".to_owned(),
        text: text.to_owned(),
        code: source::blank(text),
    };
    assert_eq!(issues(&source), [2, 8, 10]);
    assert!(!may_issue(&source.path));
}
