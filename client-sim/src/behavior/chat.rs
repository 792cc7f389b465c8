//! The players' lines of chat. Each carries its number, so that a listener can tell a line that was said twice from two
//! lines.

/// Between the words and the number.
const MARK: &str = " #";

/// Words of a line, chosen by number; no person reads them.
const WORDS: [&str; 6] = [
    "anyone at the pier?",
    "rope for bread",
    "fair winds",
    "wolves by the hedge",
    "who lost a lantern?",
    "good morning",
];

/// The speaker's line number `number`, counted from 1.
pub(crate) fn line(number: u32) -> String {
    let words = WORDS[number as usize % WORDS.len()];
    format!("{words}{MARK}{number}")
}

/// The number of a line that a simulated player said; `None` for anybody else's.
pub(crate) fn line_number(text: &str) -> Option<u32> {
    text.rsplit_once(MARK)?.1.parse().ok()
}
