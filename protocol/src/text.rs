//! Rules for text that players may say to each other. It knows the categories of Unicode and nothing of any language.
//!
//! A line must show itself as what it is, on a screen of any system: it may not write over, reverse, hide in, or run
//! out of its place. Words of every living script pass as people type them, with their marks and joiners, and so do
//! emoji with all they are composed of. Text is passed on as it was said; a reader that compares lines normalizes them
//! first.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::limits::{CHAT_BYTES_MAX, CHAT_INVISIBLE_MAX, CHAT_MARKS_MAX};

/// The reason why text may not be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is empty or too long.
    #[error("chat text is empty or longer than {CHAT_BYTES_MAX} bytes")]
    Length,
    /// The bytes are not UTF-8.
    #[error("chat text is not UTF-8")]
    Utf8,
    /// A control, format, separator, private, or unassigned character.
    #[error("U+{:04X} may not be said", *.0 as u32)]
    Character(char),
    /// Marks, joiners, or selectors without end, or without anything that they belong to.
    #[error("marks or invisible characters are piled up")]
    Pile,
    /// Spaces and invisible characters only.
    #[error("nothing of the text can be seen")]
    Invisible,
}

/// Checks a line of chat.
///
/// # Errors
/// The reason why it may not be said.
pub fn check(text: &str) -> Result<(), TextError> {
    if !(1..=CHAT_BYTES_MAX).contains(&text.len()) {
        return Err(TextError::Length);
    }
    let (mut marks, mut invisible, mut is_seen) = (0, 0, false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match role(c).ok_or(TextError::Character(c))? {
            Role::Shown => {
                (marks, invisible, is_seen) = (0, 0, true);
                if c == FLAG
                    && let Some(end) = flag_end(rest.as_str())
                {
                    rest = rest.as_str()[end..].chars();
                }
            }
            Role::Space => (marks, invisible) = (0, 0),
            Role::Mark => (marks, invisible) = (marks + 1, 0),
            Role::Invisible => invisible += 1,
        }
        // A mark at the beginning would sit on whatever is shown before the line.
        let is_loose = marks > 0 && !is_seen;
        if is_loose || marks > CHAT_MARKS_MAX || invisible > CHAT_INVISIBLE_MAX {
            return Err(TextError::Pile);
        }
    }
    if is_seen { Ok(()) } else { Err(TextError::Invisible) }
}

/// The effect of a character in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Shown,
    Space,
    /// Shown together with the character before it.
    Mark,
    /// Changes how its neighbours look, and has no look itself.
    Invisible,
}

/// Returns a character's role. `None`: it may not be said.
fn role(c: char) -> Option<Role> {
    use GeneralCategory as G;
    match c {
        // Letters and symbols by category that show nothing: the grapheme joiner, fillers of Hangul, inherent vowels of
        // Khmer, selectors of variants, the empty pattern of Braille.
        '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180d}'
        | '\u{180f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}' => {
            return Some(Role::Invisible);
        }
        // The format characters that people type: marks of direction (no embeddings, overrides, or isolates), joiners,
        // the vowel separator of Mongolian.
        '\u{61c}' | '\u{180e}' | '\u{200c}'..='\u{200f}' => return Some(Role::Invisible),
        // Signs of Arabic that are written before the number they belong to, and seen.
        '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{890}' | '\u{891}' | '\u{8e2}' => return Some(Role::Shown),
        _ => {}
    }
    match c.general_category() {
        G::NonspacingMark | G::EnclosingMark | G::SpacingMark => Some(Role::Mark),
        G::SpaceSeparator => Some(Role::Space),
        G::Control | G::Format | G::LineSeparator | G::ParagraphSeparator => None,
        G::PrivateUse | G::Surrogate | G::Unassigned => None,
        _ => Some(Role::Shown),
    }
}

/// The emoji that flags of regions without a code of their own begin with.
const FLAG: char = '\u{1f3f4}';

/// Returns the end of the tags behind a [`FLAG`], if they name a region: three to six tag letters or digits (England,
/// Scotland, Wales), and the tag that ends them. Everywhere else tags are hidden text.
fn flag_end(rest: &str) -> Option<usize> {
    let is_tag = |c: char| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let tags = rest.chars().take_while(|&c| is_tag(c)).count();
    let mut behind = rest.char_indices().skip(tags);
    match behind.next() {
        Some((at, end @ '\u{e007f}')) if (3..=6).contains(&tags) => Some(at + end.len_utf8()),
        _ => None,
    }
}
