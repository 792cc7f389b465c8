//! The workspace's source files, and their code without comments, texts, and tests. It judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// One `.rs` file.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The same lines, with comments and the contents of texts blanked.
    pub(crate) code: String,
}

impl Source {
    /// The code's lines without those of modules for tests, with their numbers.
    pub(crate) fn shipped(&self) -> Vec<(usize, String)> {
        let mut lines: Vec<(usize, String)> = self
            .code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.to_owned()))
            .collect();
        // Names of features are texts, which `code` has blanked.
        let gates: Vec<usize> = (0..)
            .zip(self.text.lines())
            .filter_map(|(index, line)| gates_tests(line).then_some(index))
            .collect();
        let mut index = 0;
        while index < lines.len() {
            if gates.contains(&index) {
                let end = end_of_item(&lines, index);
                lines[index..=end].iter_mut().for_each(|(_, line)| line.clear());
                index = end;
            }
            index += 1;
        }
        lines
    }
}

/// The last line of the item, variant, field, or match arm that begins at `start`: where its braces close, or its
/// semicolon or comma stands. One without either ends before the brace that closes what it is in.
fn end_of_item(lines: &[(usize, String)], start: usize) -> usize {
    let mut open = Vec::new();
    for (index, (_, line)) in lines.iter().enumerate().skip(start) {
        for letter in line.chars() {
            match letter {
                '{' | '(' | '[' => open.push(letter),
                ')' | ']' => _ = open.pop(),
                '}' if open.is_empty() => return index.saturating_sub(1).max(start),
                '}' => {
                    open.pop();
                    if open.is_empty() {
                        return index;
                    }
                }
                ';' | ',' if open.is_empty() => return index,
                _ => {}
            }
        }
    }
    lines.len() - 1
}

#[test]
fn gated_items_end_where_they_end() {
    let ends = |text: &str| {
        let lines: Vec<_> = (1..).zip(text.lines().map(str::to_owned)).collect();
        end_of_item(&lines, 0)
    };
    assert_eq!(
        ends("#[cfg(test)]\nReference(Line),\nOther,\n}\nfn shipped() {}"),
        1,
        "a variant"
    );
    assert_eq!(
        ends("#[cfg(test)]\nReference(Line)\n}\nfn shipped() {}"),
        1,
        "the last variant"
    );
    assert_eq!(
        ends("#[cfg(test)]\nSelf::Reference(line) => line.call(),\n_ => {}"),
        1,
        "an arm"
    );
    assert_eq!(
        ends("#[cfg(test)]\nSelf::Reference(line) => {\nline.call();\n}\n_ => {}"),
        3,
        "an arm with a block"
    );
    assert_eq!(
        ends("#[cfg(test)]\nmod tests;\nfn shipped() {}"),
        1,
        "a module elsewhere"
    );
    assert_eq!(
        ends("#[cfg(test)]\nfn help(one: u8, two: u8) -> [u8; 2] {\n[one, two]\n}\nfn shipped() {}"),
        3,
        "a function"
    );
}

/// The folders of the workspace's crates.
pub(crate) const CRATES: [&str; 13] = [
    "protocol",
    "server",
    "server/core",
    "server/os",
    "server/store",
    "server/net",
    "server/local-cluster",
    "server/testing",
    "server/sim",
    "server/models",
    "server/fuzz",
    "client-sim",
    "benches",
];

/// Crates whose modules stand in the order of the data flow, each using only those above it. The code map names these
/// modules one by one.
pub(crate) const LAYERED: [&str; 7] = [
    "server",
    "server/core",
    "server/os",
    "server/store",
    "server/net",
    "server/sim",
    "server/models",
];

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file of the workspace, in order of path.
pub(crate) fn all() -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in ["benches", "client-sim", "protocol", "server"] {
        collect(&root().join(folder), folder, &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 30, "the workspace's files are where they were");
    sources
}

/// The files of a crate that are compiled into it: its `src`, without files that only tests declare.
pub(crate) fn shipped(crate_name: &str) -> Vec<Source> {
    let all = all();
    let tests = test_files(&all);
    let prefix = format!("{crate_name}/src/");
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    };
    all.into_iter()
        .filter(|source| source.path.starts_with(&prefix) && !is_test(&source.path))
        .collect()
}

/// Whether what follows `line`, as it is in the file, is compiled for tests only.
fn gates_tests(line: &str) -> bool {
    let line = line.trim();
    line == "#[cfg(test)]" || line == "#[cfg(feature = \"testing\")]"
}

/// Returns the paths, without `.rs`, that `#[cfg(test)] mod name;` or `#[cfg(feature = "testing")] mod name;` declares.
fn test_files(sources: &[Source]) -> Vec<String> {
    let mut tests = Vec::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| gates_tests(pair[0])) {
            let declared = pair[1].strip_suffix(';').and_then(|line| line.split("mod ").nth(1));
            tests.extend(declared.map(|name| format!("{}/{name}", children_of(&source.path))));
        }
    }
    tests
}

/// The folder of a file's submodules.
fn children_of(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    ["/lib", "/main"]
        .iter()
        .find_map(|root| stem.strip_suffix(root))
        .unwrap_or(stem)
        .to_owned()
}

fn collect(folder: &Path, name: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the workspace is readable") {
        let entry = entry.expect("the workspace is readable");
        let path = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, sources);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
            sources.push(Source {
                path,
                code: blank(&text),
                text,
            });
        }
    }
}

/// Blanks comments and the contents of texts, so that what is left is code. Lines stay where they are.
pub(crate) fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, kept) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (block_comment(rest), false),
            '"' => (quoted(rest), false),
            'r' if raw_hashes(rest).is_some() && !ends_in_word(&code) => (raw_text(rest), false),
            '\'' => (character(rest), true),
            _ => (first.len_utf8(), true),
        };
        let (taken, left) = rest.split_at(length);
        if kept {
            code.push_str(taken);
        } else {
            code.extend(taken.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        }
        rest = left;
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars()
        .next_back()
        .is_some_and(|letter| letter.is_alphanumeric() && letter != 'b' || letter == '_')
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the number of hashes that follow the `r` of a raw text.
fn raw_hashes(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|&letter| letter == '#').count();
    text[1 + hashes..].starts_with('"').then_some(hashes)
}

fn raw_text(text: &str) -> usize {
    let end = format!("\"{}", "#".repeat(raw_hashes(text).unwrap_or(0)));
    let start = 1 + end.len();
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// A character in quotes, or a lifetime's apostrophe.
fn character(text: &str) -> usize {
    let mut letters = text[1..].chars();
    match letters.next() {
        Some('\\') => text[2..]
            .char_indices()
            .skip(1)
            .find(|&(_, letter)| letter == '\'')
            .map_or(1, |(at, _)| at + 3),
        Some(letter) if letters.next() == Some('\'') => 2 + letter.len_utf8(),
        _ => 1,
    }
}

#[test]
fn comments_and_texts_are_no_code() {
    let text = "a // b\n\"c \\\" d\" e /* f /* g */ h */ 'i' '\"' 'k r#\"l \" m\"# n b\"o\" '\\'' p";
    let left: Vec<&str> = text.lines().collect();
    assert_eq!(blank(text).lines().count(), left.len());
    assert_eq!(
        blank(text).split_whitespace().collect::<Vec<_>>(),
        ["a", "e", "'i'", "'\"'", "'k", "n", "b", "'\\''", "p"]
    );
}

#[test]
fn test_modules_are_not_shipped() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { c(); }\n}\nfn d() {}\n#[cfg(test)]\nmod more;\nfn e() {}\n";
    let source = Source {
        path: String::new(),
        text: text.to_owned(),
        code: blank(text),
    };
    let shipped: Vec<_> = source
        .shipped()
        .into_iter()
        .filter(|(_, line)| !line.is_empty())
        .collect();
    assert_eq!(shipped.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 6, 9]);
}
