//! No file uses what another one defines that uses, however indirectly, what the first one defines. A module and the
//! files of its own folder count as one house: a parent puts its children together, and they may use its types.

use std::collections::{BTreeMap, BTreeSet};

use crate::report;
use crate::source::{self, CRATES, Source};

/// The path of a module inside its crate: `[]` is the root.
type Module = Vec<String>;

/// One crate's files.
struct House {
    /// Each module that is a file, with the file's path.
    files: BTreeMap<Module, String>,
    /// The names of its own under which a module hands things on: `(module, name)` and the path that it stands for.
    handed_on: BTreeMap<(Module, String), Vec<String>>,
    /// Each file's uses, as paths from the crate's root.
    uses: BTreeMap<Module, BTreeSet<Vec<String>>>,
}

impl House {
    fn read(sources: &[Source]) -> Self {
        let mut house = Self {
            files: sources
                .iter()
                .map(|source| (module(&source.path), source.path.clone()))
                .collect(),
            handed_on: BTreeMap::new(),
            uses: BTreeMap::new(),
        };
        for source in sources {
            house.read_file(source);
        }
        house
    }

    fn read_file(&mut self, source: &Source) {
        let module = module(&source.path);
        let code: String = source.shipped().into_iter().map(|(_, line)| line + "\n").collect();
        let mut uses = BTreeSet::new();
        let mut rest = code.as_str();
        let mut others = String::new();
        while let Some((before, statement, after)) = next_use(rest) {
            let is_public = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            others.push_str(before);
            for path in leaves(statement) {
                let name = path.1;
                let Some(path) = self.absolute(&module, &path.0) else {
                    continue;
                };
                if is_public {
                    self.handed_on.insert((module.clone(), name), path.clone());
                }
                uses.insert(path);
            }
            rest = after;
        }
        others.push_str(rest);
        uses.extend(
            inline_paths(&others)
                .iter()
                .filter_map(|path| self.absolute(&module, path)),
        );
        self.uses.insert(module, uses);
    }

    /// A path as seen from the crate's root, if it leads into the crate.
    fn absolute(&self, from: &Module, path: &[String]) -> Option<Vec<String>> {
        let (mut base, mut path) = (from.clone(), path);
        match path.first()?.as_str() {
            "crate" => (base, path) = (Module::new(), &path[1..]),
            "self" => path = &path[1..],
            "super" => {
                while path.first().is_some_and(|part| part == "super") {
                    base.pop()?;
                    path = &path[1..];
                }
            }
            // A child by its bare name, as in `use child::Item`.
            child => {
                let mut own = from.clone();
                own.push(child.to_owned());
                self.files.contains_key(&own).then_some(())?;
            }
        }
        base.extend(path.iter().cloned());
        Some(base)
    }

    /// The file that defines what a path names.
    fn definer(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // Each turn goes through one module that hands the name on.
        for _ in 0..8 {
            let length = (0..=path.len())
                .rev()
                .find(|&length| self.files.contains_key(&path[..length]));
            let module = path[..length.unwrap_or(0)].to_vec();
            let Some(name) = path.get(module.len()) else {
                return module;
            };
            let Some(other) = self.handed_on.get(&(module.clone(), name.clone())) else {
                return module;
            };
            let tail = path[module.len() + 1..].to_vec();
            path = [other.clone(), tail].concat();
        }
        Module::new()
    }

    /// For each file those that it uses; a child's use of what stands around it is left out.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let arrows = self.uses.iter().map(|(module, uses)| {
            let used = uses.iter().map(|path| self.definer(path));
            (module, used.filter(|used| !module.starts_with(used)).collect())
        });
        arrows.collect()
    }

    /// Every set of files that reach each other, largest first.
    fn circles(&self) -> Vec<Vec<&str>> {
        let arrows = self.arrows();
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = self
            .files
            .keys()
            .map(|module| (module, reached(&arrows, module)))
            .collect();
        let mut circles = BTreeSet::new();
        for (module, others) in &reach {
            if others.contains(module) {
                let circle = others.iter().filter(|other| reach[*other].contains(module));
                circles.insert(circle.map(|other| self.files[*other].as_str()).collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }
}

/// All that can be reached from a file by one arrow or more.
fn reached<'a>(arrows: &'a BTreeMap<&'a Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = arrows.get(from).into_iter().flatten().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(arrows.get(module).into_iter().flatten());
        }
    }
    reached
}

fn module(path: &str) -> Module {
    let inside = path.split("/src/").nth(1).unwrap_or(path).trim_end_matches(".rs");
    let parts = inside.split('/').filter(|part| *part != "lib");
    parts.map(str::to_owned).collect()
}

/// Returns the text before the next `use`, its tree, and the text after it.
fn next_use(code: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let at = from + code[from..].find("use ")?;
        let line = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = code[line..at].trim();
        if before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')')) {
            let end = at + code[at..].find(';')?;
            return Some((&code[..at], &code[at + 4..end], &code[end + 1..]));
        }
        from = at + 4;
    }
}

/// The paths of a tree of imports, each with the name that it has here.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = tree
            .split_once(" as ")
            .map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = alias.map_or_else(
            || path.last().cloned().unwrap_or_default(),
            |alias| alias.trim().to_owned(),
        );
        return if tree.is_empty() {
            Vec::new()
        } else {
            vec![(path, name)]
        };
    };
    let prefix = tree[..open].split("::").map(|part| part.trim().to_owned());
    let prefix: Vec<String> = prefix.filter(|part| !part.is_empty()).collect();
    let inner = tree
        .get(open + 1..tree.rfind('}').unwrap_or(tree.len()))
        .unwrap_or_default();
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one").push(letter);
    }
    let all = parts.iter().flat_map(|part| leaves(part));
    all.map(|(path, name)| {
        let path = path.into_iter().filter(|part| part != "self");
        (prefix.iter().cloned().chain(path).collect(), name)
    })
    .collect()
}

/// Paths in code that begin with `crate` or `super`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let starts = code.match_indices("crate::").chain(code.match_indices("super::"));
    let paths = starts.map(|(at, _)| {
        let end = code[at..].find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
        let path = &code[at..end.map_or(code.len(), |end| at + end)];
        path.split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    });
    paths.collect()
}

#[test]
fn files_do_not_use_each_other_in_circles() {
    let mut breaches = Vec::new();
    for folder in CRATES {
        let house = House::read(&source::shipped(folder));
        breaches.extend(house.circles().iter().map(|circle| {
            format!(
                "{}: use each other: move what both need into a file below both",
                circle.join(", ")
            )
        }));
    }
    report(&breaches);
}

#[test]
fn import_is_read_by_its_whole_word() {
    assert_eq!(next_use("pub enum Cause { A, B }\nfn f() {}\n"), None);
    let found = next_use("pub enum Cause { A }\npub use a::B;\n");
    assert_eq!(found.map(|(_, tree, _)| tree), Some("a::B"));
}

#[test]
fn circle_of_files_is_found_through_what_a_parent_hands_on() {
    let file = |path: &str, text: &str| Source {
        path: format!("x/src/{path}.rs"),
        text: text.to_owned(),
        code: text.to_owned(),
    };
    let parent = file("lib", "pub mod a;\npub mod b;\npub use a::{One, Two as Other};\n");
    let a = file("a", "mod child;\nuse crate::b::{self, Three};\nuse child::Four;\n");
    let child = file("a/child", "use super::One;\n");
    let b = |uses| file("b", uses);
    let circles = |b: Source| {
        let sources = [parent.path.as_str(), a.path.as_str(), child.path.as_str()];
        let sources = sources.into_iter().zip([&parent, &a, &child]);
        let copies = sources.map(|(path, source)| Source {
            path: path.to_owned(),
            text: source.text.clone(),
            code: source.code.clone(),
        });
        let all: Vec<Source> = copies.chain([b]).collect();
        House::read(&all).circles().len()
    };
    assert_eq!(circles(b("use std::fmt;\n")), 0, "parent and child are one house");
    assert_eq!(circles(b("use crate::Other;\n")), 1);
    assert_eq!(circles(b("fn f() { super::a::g() }\n")), 1);
    assert_eq!(
        circles(b("pub enum Cause { A }\npub struct Pause {}\n")),
        0,
        "no imports"
    );
}
