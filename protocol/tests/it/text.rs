//! Text that may be said, and text that may not: what people type passes, and what would deceive a reader does not.

use everhold_protocol::limits::{CHAT_BYTES_MAX, CHAT_MARKS_MAX};
use everhold_protocol::text::{TextError, check};
use proptest::prelude::*;

#[test]
fn words_of_living_scripts_pass_with_their_marks_and_joiners() {
    for text in [
        "Grüß dich, café naïve Ångström",
        "Cafe\u{301} i\u{302}\u{323}",
        "Γειά σου, Здравствуй, Բարեւ",
        "سلام، می\u{200c}خواهم",
        "مُحَمَّدٌ رَسُولُ",
        "שָׁלוֹם בְּרֵאשִׁ֖ית",
        "\u{200f}שלום (hello)\u{200e}",
        "क्षत्रिय नमस्ते श्री\u{200d}मान्",
        "ක්\u{200d}ෂ ශ්\u{200d}රී",
        "বাংলা র\u{200d}\u{9cd}যাব",
        "สวัสดีครับ น้ำ",
        "မြွှေ့ ကျွန်ုပ်",
        "བསྒྲུབས་ བཀྲ་ཤིས",
        "ᠮᠣᠩᠭᠣᠯ ᠪᠠ\u{180e}ᠢ",
        "日本語、中文，한국어 ｶﾀｶﾅ",
        "葛\u{e0100}城",
        "1 < 2 && \"ok\" — 50 % ½ ¿qué?",
    ] {
        assert_eq!(check(text), Ok(()), "{text:?}");
    }
}

#[test]
fn emoji_pass_with_all_they_are_composed_of() {
    for text in [
        "😀👍",
        "👍🏽 👩🏾‍🚀",
        "👨‍👩‍👧‍👦",
        "❤️ ❤️‍🔥 ☠︎",
        "1️⃣ #️⃣",
        "🇩🇪🇯🇵",
        "🏴‍☠️ 🏳️‍🌈",
        "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} wins",
    ] {
        assert_eq!(check(text), Ok(()), "{text:?}");
    }
}

#[test]
fn characters_that_deceive_are_named() {
    for c in [
        '\u{0}',
        '\n',
        '\u{1b}',
        '\u{85}',
        '\u{ad}',
        '\u{202a}',
        '\u{202e}',
        '\u{2028}',
        '\u{2029}',
        '\u{2060}',
        '\u{2066}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e000}',
        '\u{10fffd}',
        '\u{fdd0}',
        '\u{fffe}',
        '\u{1ffff}',
        '\u{378}',
        '\u{e0041}',
        '\u{e007f}',
    ] {
        let text = format!("ab{c}cd");
        assert_eq!(check(&text), Err(TextError::Character(c)), "U+{:04X}", c as u32);
    }
}

#[test]
fn tags_are_no_hidden_text() {
    let tags = |text: &str| -> String {
        text.chars()
            .map(|c| char::from_u32(0xe0000 + c as u32).unwrap())
            .collect()
    };
    for hidden in ["gb", "gbsctxx", "GB-SCT"] {
        let text = format!("🏴{}\u{e007f}", tags(hidden));
        assert!(matches!(check(&text), Err(TextError::Character(_))), "{hidden}");
    }
    let unended = format!("🏴{}", tags("gbsct"));
    assert!(matches!(check(&unended), Err(TextError::Character(_))));
}

#[test]
fn text_of_which_nothing_is_seen_is_refused() {
    for text in [
        " ",
        "\u{3000} ",
        "\u{200b}",
        "\u{200d}",
        "\u{3164}",
        "\u{2800}\u{2800}",
        "\u{115f} \u{1160}",
    ] {
        assert!(check(text).is_err(), "{text:?}");
    }
    assert_eq!(check("\u{3164} \u{3164}"), Err(TextError::Invisible));
}

#[test]
fn piles_of_marks_and_of_invisible_characters_are_refused() {
    let marked = |marks| format!("a{}", "\u{301}".repeat(marks));
    assert_eq!(check(&marked(CHAT_MARKS_MAX as usize)), Ok(()));
    assert_eq!(check(&marked(CHAT_MARKS_MAX as usize + 1)), Err(TextError::Pile));
    let hidden = format!("a{}b", "\u{200d}\u{200c}".repeat(2));
    assert_eq!(check(&hidden), Err(TextError::Pile));
    let selectors = format!("a{}b", "\u{fe00}\u{fe01}\u{e0100}");
    assert_eq!(check(&selectors), Err(TextError::Pile));
    assert_eq!(
        check("\u{301}a"),
        Err(TextError::Pile),
        "it would sit on the name before the line"
    );
}

#[test]
fn joiners_do_not_hide_a_pile() {
    let text = format!("a{}", "\u{301}\u{200d}".repeat(CHAT_MARKS_MAX as usize + 1));
    assert_eq!(check(&text), Err(TextError::Pile));
}

#[test]
fn length_counts_bytes() {
    assert_eq!(check(""), Err(TextError::Length));
    assert_eq!(check(&"é".repeat(CHAT_BYTES_MAX / 2)), Ok(()));
    assert_eq!(check(&"é".repeat(CHAT_BYTES_MAX / 2 + 1)), Err(TextError::Length));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_passes_has_no_control_character(text in "\\PC{0,40}|.{0,40}") {
        if check(&text).is_ok() {
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
