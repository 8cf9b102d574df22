//! What the log may say of a request, at any level: no secret of a path, and of people a hash.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// How many bytes of a hash tell people apart.
const HASH: usize = 6;
/// The longest id of a room, in bytes.
const LONGEST_ROOM: usize = 255;

/// Where the rest of a path is a secret: the token of an invitation or of a letter, the id of
/// a delayed event, that of a meeting of two devices.
const SECRET_PATHS: [&str; 5] = [
    "/join/",
    "/confirm/",
    "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/",
    "/_matrix/client/unstable/org.matrix.msc4108/rendezvous/",
    "/_matrix/client/unstable/io.element.msc4388/rendezvous/",
];

/// A path without its secret, whether or not it leads anywhere.
pub(crate) fn path(path: &str) -> &str {
    SECRET_PATHS
        .into_iter()
        .find(|secret| path.starts_with(secret))
        .unwrap_or(path)
}

/// A person as the log knows them: the same in all entries, and to be made of a name by nobody
/// without the server's secret.
pub(crate) fn hash(secret: &[u8; 32], user_id: &str) -> String {
    let hash = Sha256::new()
        .chain_update(b"people in the log\0")
        .chain_update(secret)
        .chain_update(user_id)
        .finalize();
    let mut shown = String::with_capacity(2 * HASH);
    for byte in hash.iter().take(HASH) {
        // Writing to a string cannot fail.
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

/// The id of the room that a path names. It is made by chance and says nothing; an alias would.
pub(crate) fn room(path: &str) -> Option<String> {
    let part = path.split('/').find_map(|part| {
        let rest = part
            .strip_prefix('!')
            .or_else(|| part.strip_prefix("%21"))?;
        Some(rest.replace("%3A", ":").replace("%3a", ":"))
    })?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    (part.len() < LONGEST_ROOM && part.bytes().all(is_plain)).then(|| format!("!{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_paths_are_not_logged() {
        for (path, expected) in [
            ("/join/secret", "/join/"),
            ("/join/secret/more", "/join/"),
            ("/joined", "/joined"),
            ("/confirm/id/secret", "/confirm/"),
            (
                "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/secret/send",
                "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/",
            ),
            ("/_matrix/client/v3/sync", "/_matrix/client/v3/sync"),
        ] {
            assert_eq!(super::path(path), expected);
        }
    }

    #[test]
    fn rooms_are_told_by_their_ids_alone() {
        for (path, expected) in [
            (
                "/_matrix/client/v3/rooms/!a:b.test/send/m.x/1",
                Some("!a:b.test"),
            ),
            (
                "/_matrix/client/v3/rooms/%21a%3Ab.test/state",
                Some("!a:b.test"),
            ),
            ("/_matrix/client/v3/join/!Hash_of-12", Some("!Hash_of-12")),
            ("/_matrix/client/v3/join/%23roads:b.test", None),
            ("/_matrix/client/v3/rooms/!a%0Ab/state", None),
            ("/_matrix/client/v3/sync", None),
        ] {
            assert_eq!(room(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn people_are_told_apart_by_hashes_of_this_server() {
        let anna = hash(&[1; 32], "@anna:a.test");
        assert_eq!(anna.len(), 2 * HASH);
        assert_eq!(anna, hash(&[1; 32], "@anna:a.test"));
        assert_ne!(anna, hash(&[1; 32], "@bert:a.test"));
        assert_ne!(anna, hash(&[2; 32], "@anna:a.test"));
    }
}
