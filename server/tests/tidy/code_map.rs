//! The code map of ARCHITECTURE.md lists exactly the folders and modules that exist.

use std::collections::BTreeSet;
use std::fs;

use crate::report;
use crate::source::{CRATES, LAYERED, root};

const MARK: &str = "<!-- code map -->";

/// The paths that the code map names: each line's first word in backticks.
fn listed(document: &str) -> BTreeSet<String> {
    let map = document
        .split(MARK)
        .nth(1)
        .expect("ARCHITECTURE.md has a code map between two markers");
    map.lines()
        .filter_map(|line| line.split('`').nth(1))
        .map(str::to_owned)
        .collect()
}

/// The repository's folders, the crates, and the modules of those that make up the server.
fn existing() -> BTreeSet<String> {
    let folders = names("").into_iter().filter(|name| name.ends_with('/'));
    let folders =
        folders.filter(|name| !name.starts_with('.') && name != "target/" && !name.ends_with("proptest-regressions/"));
    let crates = CRATES.iter().map(|folder| format!("{folder}/"));
    let modules = CRATES
        .iter()
        .filter(|folder| LAYERED.contains(folder))
        .flat_map(|folder| {
            let modules = names(&format!("{folder}/src")).into_iter();
            let modules = modules.map(|name| name.trim_end_matches('/').trim_end_matches(".rs").to_owned());
            modules
                .filter(|name| name != "lib" && name != "main")
                .map(move |name| format!("{folder}/src/{name}"))
        });
    folders.chain(crates).chain(modules).collect()
}

/// Returns the names in a folder; those of folders end in `/`.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("the repository is readable");
    let name = |entry: fs::DirEntry| {
        let slash = if entry.path().is_dir() { "/" } else { "" };
        format!("{}{slash}", entry.file_name().to_string_lossy())
    };
    entries
        .map(|entry| name(entry.expect("the repository is readable")))
        .collect()
}

#[test]
fn code_map_is_true() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let (listed, existing) = (listed(&document), existing());
    let missing = existing
        .difference(&listed)
        .map(|path| format!("ARCHITECTURE.md: add `{path}` to the code map"));
    let gone = listed
        .difference(&existing)
        .map(|path| format!("ARCHITECTURE.md: `{path}` does not exist: take it out of the code map"));
    report(&missing.chain(gone).collect::<Vec<_>>());
}

#[test]
fn code_map_is_read_between_its_markers() {
    let document = format!("`a`\n{MARK}\n- `b/` is not `c`\n\n- `d` too\n{MARK}\n`e`");
    assert_eq!(listed(&document), BTreeSet::from(["b/".to_owned(), "d".to_owned()]));
}
