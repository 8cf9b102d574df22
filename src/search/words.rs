//! How a text becomes words.
//!
//! A word is a run of letters and digits in lower case. Combining marks belong to the
//! letter before them and are left out, so that both spellings of an accent are found by
//! the letter alone or by the composed letter, each as it was written. Scripts that put
//! no spaces between words (Chinese, Japanese) count each character as a word.
//! An event has all words of a question or it is not found.

use std::collections::BTreeMap;

/// The version of these rules: an index of another version is built anew.
pub(crate) const VERSION: u32 = 2;

/// The longest word, in bytes; what is longer is found by its beginning.
const MAX_WORD: usize = 48;
/// The most different words of one event that are indexed.
const MAX_WORDS: usize = 2_000;

/// The words of a text, each with how often it occurs, and how many there are in all.
pub(crate) struct Words {
    /// By word.
    pub(crate) counts: BTreeMap<String, u16>,
    /// All of them, repetitions included.
    pub(crate) total: u16,
}

/// The words of a text in their order.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(cut(std::mem::take(word)));
        }
    };
    for letter in text.chars().flat_map(char::to_lowercase) {
        if is_alone(letter) {
            end(&mut word);
            word.push(letter);
            end(&mut word);
        } else if is_mark(letter) {
            // It belongs to the letter before.
        } else if letter.is_alphanumeric() {
            word.push(letter);
        } else {
            end(&mut word);
        }
    }
    end(&mut word);
    words
}

/// The words of a text, counted.
pub(crate) fn counted(text: &str) -> Words {
    let mut counts = BTreeMap::<String, u16>::new();
    let all = words(text);
    let total = u16::try_from(all.len()).unwrap_or(u16::MAX);
    for word in all {
        if counts.len() < MAX_WORDS || counts.contains_key(&word) {
            let count = counts.entry(word).or_default();
            *count = count.saturating_add(1);
        }
    }
    Words { counts, total }
}

/// The beginning of a word that is short enough.
fn cut(mut word: String) -> String {
    if word.len() > MAX_WORD {
        let mut end = MAX_WORD;
        while !word.is_char_boundary(end) {
            end -= 1;
        }
        word.truncate(end);
    }
    word
}

/// Whether a character is a word by itself: Han, kana.
fn is_alone(letter: char) -> bool {
    matches!(letter,
        '\u{3041}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
        && letter.is_alphanumeric()
}

/// Whether a character only marks the one before: accents, variation selectors, joiners.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_words() {
        for (text, expected) in [
            ("", vec![]),
            ("?! …", vec![]),
            ("Hello, world!", vec!["hello", "world"]),
            ("ÄPFEL und Straße", vec!["äpfel", "und", "straße"]),
            ("Привет МИР", vec!["привет", "мир"]),
            ("room-12_b", vec!["room", "12", "b"]),
            ("e\u{301}te\u{301}", vec!["ete"]),
            ("東京タワー 3", vec!["東", "京", "タ", "ワ", "ー", "3"]),
            ("İ", vec!["i"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn words_and_their_number_are_bounded() {
        assert_eq!(words(&"ä".repeat(100)), ["ä".repeat(24)]);
        let long: String = (0..3_000).map(|number| format!("w{number} ")).collect();
        let counted = counted(&format!("{long} w1 w1"));
        assert_eq!(counted.counts.len(), MAX_WORDS);
        assert_eq!(counted.counts["w1"], 3);
        assert_eq!(counted.total, 3_002);
    }
}
