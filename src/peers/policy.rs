//! Which servers this one speaks to.

use std::sync::{Arc, OnceLock};

use ruma_common::{OwnedServerName, ServerName};

use crate::{FederationOptions, blocked::Blocked, listed::Listed};

/// Why this server does not speak to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `federation.enabled` is off.
    #[error("this server does not speak to others")]
    Disabled,
    /// The name is this server's own.
    #[error("this is the server itself")]
    Ourselves,
    /// An administrator has blocked it.
    #[error("an administrator of this server has blocked that one")]
    Blocked,
    /// A ban list names it.
    #[error("a ban list that this server heeds names that one")]
    Banned,
    /// The configuration allows only others, or denies it.
    #[error("this server does not speak to that one")]
    Denied,
}

impl Refused {
    /// Whether it is about the other server: its people's events are not wanted either, by
    /// whom ever they come.
    pub fn is_about_it(self) -> bool {
        matches!(self, Self::Blocked | Self::Banned | Self::Denied)
    }
}

/// The rules of the configuration, and those of ban lists.
pub(crate) struct Policy {
    own: OwnedServerName,
    enabled: bool,
    allowed: Vec<String>,
    denied: Vec<String>,
    /// Whether those of the list in force are the only ones besides the allowed.
    only_listed: bool,
    listed: Listed,
    pub(crate) blocked: Blocked,
    /// Whom ban lists name.
    pub(crate) unwanted: OnceLock<Arc<Unwanted>>,
}

/// Whether a server is not wanted.
pub type Unwanted = dyn Fn(&ServerName) -> bool + Send + Sync;

impl std::fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Policy");
        shown.field("own", &self.own).finish_non_exhaustive()
    }
}

impl Policy {
    pub(crate) fn new(
        own: OwnedServerName,
        options: &FederationOptions,
        listed: Listed,
        blocked: Blocked,
    ) -> Self {
        Self {
            own,
            enabled: options.enabled,
            allowed: options.allowed_servers.clone(),
            denied: options.denied_servers.clone(),
            only_listed: options.only_peer_list,
            listed,
            blocked,
            unwanted: OnceLock::new(),
        }
    }

    /// # Errors
    /// [`Refused`] if this server does not speak to `server`.
    pub(crate) fn check(&self, server: &ServerName) -> Result<(), Refused> {
        // A pattern without a port is about the host, whatever the port.
        let matches = |pattern: &String| {
            is_match(pattern, server.as_str()) || is_match(pattern, server.host())
        };
        if !self.enabled {
            return Err(Refused::Disabled);
        }
        if server.as_str().eq_ignore_ascii_case(self.own.as_str()) {
            return Err(Refused::Ourselves);
        }
        if self.denied.iter().any(matches) {
            return Err(Refused::Denied);
        }
        if self.blocked.has(server) {
            return Err(Refused::Blocked);
        }
        if self.unwanted.get().is_some_and(|unwanted| unwanted(server)) {
            return Err(Refused::Banned);
        }
        let is_open = self.allowed.is_empty() && !self.only_listed;
        if is_open || self.allowed.iter().any(matches) || self.listed.has(server) {
            Ok(())
        } else {
            Err(Refused::Denied)
        }
    }
}

/// Whether all of `text` matches a pattern with `*` and `?`. Host names have no case.
fn is_match(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(one) if *one == b'?' || one.eq_ignore_ascii_case(&text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                at = place + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("a.test", "a.test", true),
            ("a.test", "A.Test", true),
            ("a.test", "ba.test", false),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("a?c.test", "abc.test", true),
            ("a?c.test", "ac.test", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "abab", true),
            ("*a*b", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn lists_decide_who_is_spoken_to() {
        let policy = |enabled, allowed: &[&str], denied: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
            let options = FederationOptions {
                enabled,
                allowed_servers: texts(allowed),
                denied_servers: texts(denied),
                ..FederationOptions::default()
            };
            let own = OwnedServerName::try_from("own.test").unwrap();
            Policy::new(own, &options, Listed::default(), Blocked::default())
        };
        for (policy, server, expected) in [
            (policy(true, &[], &[]), "a.test", Ok(())),
            (policy(false, &[], &[]), "a.test", Err(Refused::Disabled)),
            (policy(true, &[], &[]), "OWN.test", Err(Refused::Ourselves)),
            (
                policy(true, &["*"], &[]),
                "own.test",
                Err(Refused::Ourselves),
            ),
            (policy(true, &["*.gov"], &[]), "a.gov", Ok(())),
            (
                policy(true, &["*.gov"], &[]),
                "a.test",
                Err(Refused::Denied),
            ),
            (
                policy(true, &[], &["bad.test"]),
                "bad.test:8449",
                Err(Refused::Denied),
            ),
            (policy(true, &[], &["bad.test:1"]), "bad.test", Ok(())),
            (
                policy(true, &["*"], &["*.bad"]),
                "a.bad",
                Err(Refused::Denied),
            ),
            (policy(true, &["a.test"], &[]), "a.test:8449", Ok(())),
        ] {
            let server = ServerName::parse(server).unwrap();
            assert_eq!(policy.check(&server), expected, "{server}");
        }
    }
}
