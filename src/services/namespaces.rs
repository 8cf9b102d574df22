//! What a service is interested in, by the names of users, aliases and rooms.

use regex::{Regex, RegexBuilder};

/// How much memory one expression may take when it is compiled, in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// The namespaces of a registration.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// Ids of users of this server.
    pub users: Vec<Namespace>,
    /// Aliases.
    pub aliases: Vec<Namespace>,
    /// Ids of rooms.
    pub rooms: Vec<Namespace>,
}

/// One namespace: names that begin with what an expression describes.
#[derive(Clone, Debug)]
pub struct Namespace {
    written: String,
    regex: Regex,
    is_exclusive: bool,
}

impl Namespace {
    /// The names that begin with what `regex` describes, as all servers read it: it is
    /// bound to the beginning of a name, and to its end only where it says so itself.
    ///
    /// # Errors
    /// If it is no regular expression, or one that takes too much memory.
    pub fn new(regex: &str, is_exclusive: bool) -> Result<Self, regex::Error> {
        // Alone first, so that no bracket of it closes ours.
        RegexBuilder::new(regex).size_limit(MAX_COMPILED).build()?;
        Ok(Self {
            written: regex.to_owned(),
            regex: RegexBuilder::new(&format!("^(?:{regex})"))
                .size_limit(MAX_COMPILED)
                .build()?,
            is_exclusive,
        })
    }

    /// Whether a name belongs to it.
    pub fn contains(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// Whether nobody else may make names in it.
    pub fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// The expression as it stands in the file.
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// Whether a name belongs to one of the namespaces.
pub(crate) fn any(namespaces: &[Namespace], name: &str) -> bool {
    namespaces.iter().any(|space| space.contains(name))
}

/// Whether a name belongs to one of those that are exclusive.
pub(crate) fn any_exclusive(namespaces: &[Namespace], name: &str) -> bool {
    namespaces
        .iter()
        .any(|space| space.is_exclusive && space.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_bound_to_the_beginning() {
        for (regex, name, expected) in [
            ("@_irc_.*", "@_irc_bob:localhost", true),
            ("@_irc_", "@_irc_bob:localhost", true),
            ("_irc_.*", "@_irc_bob:localhost", false),
            ("@_irc_.*:localhost$", "@_irc_bob:localhost", true),
            ("@_irc_.*:localhost$", "@_irc_bob:localhost.org", false),
            ("@a|@b", "@bob:localhost", true),
            ("@a|bob", "@bob:localhost", false),
            (".*", "anything", true),
        ] {
            let namespace = Namespace::new(regex, true).unwrap();
            assert_eq!(namespace.contains(name), expected, "{regex} {name}");
        }
        for regex in ["(", "a)|(b", "a{1000}{1000}{1000}", "(?!x)y"] {
            assert!(Namespace::new(regex, true).is_err(), "{regex}");
        }
    }
}
