//! Whose invitations a user takes (client-server API, "Invite permission"; MSC4155).

use model::UserSerial;
use serde::Deserialize;
use store::{Read, StoreError};

use crate::account_data;

/// The account data of the specification.
const EVENT_TYPE: &str = "m.invite_permission_config";
/// The account data of MSC4155, which tells people and servers apart.
const FILTERS: &str = "org.matrix.msc4155.invite_permission_config";
/// The most patterns of each list that count.
const MAX_PATTERNS: usize = 1_000;

/// What becomes of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitePermission {
    /// It reaches the user.
    Allow,
    /// It is sent, and the user is not told.
    Ignore,
    /// It cannot be sent (403 `M_INVITE_BLOCKED`).
    Block,
}

#[derive(Deserialize)]
struct Config {
    default_action: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Filters {
    enabled: Option<bool>,
    allowed_users: Vec<String>,
    ignored_users: Vec<String>,
    blocked_users: Vec<String>,
    allowed_servers: Vec<String>,
    ignored_servers: Vec<String>,
    blocked_servers: Vec<String>,
}

/// What becomes of the invitations that `inviter` sends to a user.
///
/// # Errors
/// If the database fails.
pub fn invite_permission(
    view: &impl Read,
    user: UserSerial,
    inviter: &str,
) -> Result<InvitePermission, StoreError> {
    if let Some(entry) = account_data(view, user, None, EVENT_TYPE)?
        && blocks_all(&entry.json)
    {
        return Ok(InvitePermission::Block);
    }
    let filters = account_data(view, user, None, FILTERS)?;
    Ok(filters.map_or(InvitePermission::Allow, |entry| {
        filtered(&entry.json, inviter)
    }))
}

fn blocks_all(json: &[u8]) -> bool {
    serde_json::from_slice::<Config>(json)
        .is_ok_and(|config| config.default_action == Some("block".into()))
}

/// The first list that has a pattern for the inviter decides; lists of another form have
/// none.
fn filtered(json: &[u8], inviter: &str) -> InvitePermission {
    let filters: Filters = serde_json::from_slice(json).unwrap_or_default();
    if filters.enabled == Some(false) {
        return InvitePermission::Allow;
    }
    let server = inviter.split_once(':').map_or("", |(_, server)| server);
    for (patterns, name, permission) in [
        (&filters.allowed_users, inviter, InvitePermission::Allow),
        (&filters.ignored_users, inviter, InvitePermission::Ignore),
        (&filters.blocked_users, inviter, InvitePermission::Block),
        (&filters.allowed_servers, server, InvitePermission::Allow),
        (&filters.ignored_servers, server, InvitePermission::Ignore),
        (&filters.blocked_servers, server, InvitePermission::Block),
    ] {
        let mut patterns = patterns.iter().take(MAX_PATTERNS);
        if patterns.any(|pattern| matches_pattern(pattern.as_bytes(), name.as_bytes())) {
            return permission;
        }
    }
    InvitePermission::Allow
}

/// Whether a name matches a pattern, in which `*` stands for any text and `?` for any
/// character. Goes back to the last `*` only, so it takes no longer than both lengths
/// multiplied.
pub fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, from)) = star else {
                    return false;
                };
                star = Some((place, from + 1));
                (at, read) = (place + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_block_blocks() {
        for (json, expected) in [
            (r#"{"default_action":"block"}"#, true),
            (r#"{"default_action":"allow"}"#, false),
            (r#"{"default_action":1}"#, false),
            ("{}", false),
            ("[]", false),
        ] {
            assert_eq!(blocks_all(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn the_first_list_that_matches_decides() {
        use InvitePermission::{Allow, Block, Ignore};
        for (json, expected) in [
            ("{}", Allow),
            ("[]", Allow),
            (r#"{"blocked_users":["@bob:b.test"]}"#, Block),
            (r#"{"blocked_users":["@b*:*"],"enabled":false}"#, Allow),
            (r#"{"blocked_users":["@b??:b.test"]}"#, Block),
            (r#"{"blocked_users":["@b?:b.test"]}"#, Allow),
            (
                r#"{"ignored_users":["@bob:*"],"blocked_users":["@bob:*"]}"#,
                Ignore,
            ),
            (
                r#"{"allowed_users":["@bob:*"],"blocked_servers":["*"]}"#,
                Allow,
            ),
            (r#"{"blocked_servers":["*.test"]}"#, Block),
            (r#"{"ignored_servers":["b.test"]}"#, Ignore),
            (r#"{"blocked_servers":["c.test"]}"#, Allow),
        ] {
            assert_eq!(filtered(json.as_bytes(), "@bob:b.test"), expected, "{json}");
        }
    }
}
