//! Every limit limits something.

use crate::report;
use crate::source;

/// The names of the constants that a file of limits declares.
fn declared(code: &str) -> Vec<&str> {
    code.lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split(':').next())
        .collect()
}

#[test]
fn every_limit_is_used() {
    let sources = source::all();
    let mut breaches = Vec::new();
    for file in ["protocol/src/limits.rs", "server/core/src/limits.rs"] {
        let limits = sources
            .iter()
            .find(|source| source.path == file)
            .expect("limits are in one file a crate");
        let names = declared(&limits.code);
        assert!(names.len() > 5, "{file} declares its limits one a line");
        for name in names {
            let word = |letter: char| !letter.is_alphanumeric() && letter != '_';
            let mut others = sources
                .iter()
                .filter(|source| source.path.contains("/src/") && source.path != file);
            if !others.any(|source| source.code.split(word).any(|word| word == name)) {
                breaches.push(format!(
                    "{file}: `{name}` bounds nothing: use it where it belongs, or take it out"
                ));
            }
        }
    }
    report(&breaches);
}
