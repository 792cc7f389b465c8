//! Every input that is kept runs through its target: those that fuzzing found to reach different code, and those that
//! once failed.

use std::path::{Path, PathBuf};

use everhold_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_passes_its_target() {
    for target in TARGETS {
        let kept = files(&corpus().join(target.name));
        assert!(kept.len() >= 5, "{}: the corpus has {} inputs", target.name, kept.len());
        for path in kept {
            let data = std::fs::read(&path).expect("a readable file");
            let outcome = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(outcome.is_ok(), "{} fails on {}", target.name, path.display());
        }
    }
}

#[test]
fn every_folder_of_the_corpus_is_a_target_s() {
    for folder in files(&corpus()) {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            everhold_fuzz::target(&name).is_some(),
            "{} is no target's",
            folder.display()
        );
    }
}
