//! The modules of a `lib.rs` stand in the order of the data flow; each uses only those above it.

use crate::report;
use crate::source::{self, LAYERED, Source};

/// The modules that may be used from anywhere: bounds depend on nothing.
const EVERYWHERE: [&str; 1] = ["limits"];

/// The modules that `lib.rs` declares, in order.
fn declared(lib: &Source) -> Vec<String> {
    let name = |(_, line): (usize, String)| {
        let line = line.trim().strip_suffix(';')?.to_owned();
        line.strip_prefix("pub mod ")
            .or_else(|| line.strip_prefix("mod "))
            .map(str::to_owned)
    };
    lib.shipped().into_iter().filter_map(name).collect()
}

/// The module of `lib.rs` that a file belongs to.
fn module_of(path: &str) -> &str {
    let inside = path.split("/src/").nth(1).unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// The modules that a line names after `crate::`, be it one or a list in braces.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect::<String>()
    };
    let mut names = Vec::new();
    for after in line.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => names.extend(top_level(list).iter().map(|entry| word(entry.trim()))),
            None => names.push(word(after)),
        }
    }
    names
}

/// The entries of a list in braces, without what they have in inner braces.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut outer) = (0, String::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ if depth == 0 => outer.push(letter),
            _ => {}
        }
    }
    outer.split(',').map(str::to_owned).collect()
}

/// Returns the uses of a crate's files that stand below them.
fn upward(folder: &str) -> Vec<String> {
    let sources = source::shipped(folder);
    let Some(lib) = sources
        .iter()
        .find(|source| source.path == format!("{folder}/src/lib.rs"))
    else {
        return Vec::new();
    };
    let order = declared(lib);
    let rank = |name: &str| order.iter().position(|module| module == name);
    let mut breaches = Vec::new();
    for source in &sources {
        let module = module_of(&source.path);
        let Some(own) = rank(module) else { continue };
        // Imports that go over several lines are read as one.
        let lines = source.shipped();
        for (number, line) in statements(&lines) {
            for name in named(&line) {
                let allowed = EVERYWHERE.contains(&name.as_str()) || rank(&name).is_none_or(|other| other <= own);
                if !allowed {
                    let fix = "move what is needed up, or pass it in";
                    breaches.push(format!(
                        "{}:{number}: `{module}` uses `{name}`, which stands below it: {fix}",
                        source.path
                    ));
                }
            }
        }
    }
    breaches
}

#[test]
fn modules_use_only_those_above_them() {
    let breaches: Vec<String> = LAYERED.iter().flat_map(|folder| upward(folder)).collect();
    report(&breaches);
    let core = source::shipped("server/core");
    let lib = core.iter().find(|source| source.path.ends_with("/lib.rs"));
    assert!(
        lib.is_some_and(|lib| declared(lib).len() >= 8),
        "lib.rs declares its modules one a line"
    );
}

/// Joins a line that opens `crate::{` with those up to its `;`.
fn statements(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in lines {
        match joined.last_mut().filter(|_| open) {
            Some((_, statement)) => statement.push_str(line),
            None => joined.push((*number, line.clone())),
        }
        open = joined
            .last()
            .is_some_and(|(_, statement)| statement.contains("crate::{") && !statement.contains(';'));
    }
    joined
}

#[test]
fn list_of_imports_names_each_module() {
    let lines = [
        (1, "use crate::{zone::{Scene, self},".to_owned()),
        (2, " rules, limits::A};".to_owned()),
    ];
    let [(1, statement)] = &statements(&lines)[..] else {
        panic!("one statement")
    };
    assert_eq!(named(statement), ["zone", "rules", "limits"]);
    assert_eq!(named("crate::ingress::Input, pub(crate) crate::io"), ["ingress", "io"]);
}
