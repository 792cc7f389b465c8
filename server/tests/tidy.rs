//! The house rules that a machine can keep. Each failure names the file, the line, and the fix.

#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/text.rs"]
mod text;

#[path = "tidy/layers.rs"]
mod layers;

#[path = "tidy/purity.rs"]
mod purity;

#[path = "tidy/limits.rs"]
mod limits;

#[path = "tidy/output.rs"]
mod output;

#[path = "tidy/grants.rs"]
mod grants;

#[path = "tidy/circles.rs"]
mod circles;

#[path = "tidy/tracked.rs"]
mod tracked;

#[path = "tidy/words.rs"]
mod words;

#[path = "tidy/code_map.rs"]
mod code_map;

/// Fails with every breach of a rule at once.
fn report(breaches: &[String]) {
    assert!(
        breaches.is_empty(),
        "{} to mend:\n{}",
        breaches.len(),
        breaches.join("\n")
    );
}
