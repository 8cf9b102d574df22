//! Media ids: the last part of an `mxc://` URI.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use runtime::Random;

/// The longest id of ours that is looked up. Ours are shorter.
const LONGEST: usize = 64;
/// The longest id of another server that is looked up.
const LONGEST_REMOTE: usize = 255;

/// A new media id: 144 random bits, so that nobody finds a file by guessing.
pub(crate) fn new(random: &Random) -> String {
    URL_SAFE_NO_PAD.encode(random.bytes::<18>())
}

/// Whether a text can be a media id at all (client-server API, "Security
/// considerations" of the content repository). It never becomes a path, as files are
/// named by their hash; this keeps nonsense away from the database.
pub(crate) fn is_valid(text: &str) -> bool {
    is_valid_remote(text) && text.len() <= LONGEST
}

/// The same for another server's.
pub(crate) fn is_valid_remote(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= LONGEST_REMOTE && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_valid_and_differ() {
        let random = Random::system();
        let (one, other) = (new(&random), new(&random));
        assert_ne!(one, other);
        assert_eq!(one.len(), 24);
        assert!(is_valid(&one) && is_valid(&other));
    }

    #[test]
    fn only_letters_digits_dashes_and_underscores_are_ids() {
        for valid in ["a", "AQwafuaFswefuhsfAFAgsw", "a-b_C9", &"x".repeat(64)] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "a/b",
            "a%2Fb",
            "a\0",
            "a b",
            "ä",
            "a.png",
            &"x".repeat(65),
        ] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }
}
