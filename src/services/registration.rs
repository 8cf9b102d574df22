//! A registration file (application service API, "Registration").

use std::fmt;

use runtime::Secret;
use url::Url;

use crate::{
    Namespaces,
    namespaces::Namespace,
    yaml::{self, Node, Value},
};

/// The longest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// The longest id, token, localpart or protocol, in bytes.
const MAX_TEXT_BYTES: usize = 255;
/// The most namespaces of one kind, and the most protocols.
const MAX_ENTRIES: usize = 1_000;

/// How services asked for ephemeral data before it was in the specification.
const OLD_RECEIVE_EPHEMERAL: [&str; 2] = ["de.sorunome.msc2409.push_ephemeral", "push_ephemeral"];

/// How services ask for what encryption needs (MSC3202, "Unstable prefix").
const ENCRYPTS: &str = "org.matrix.msc3202";

/// Why a file is no registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, naming the field.
    pub message: String,
}

impl RegistrationError {
    pub(crate) fn at(line: usize, message: impl Into<String>) -> Self {
        Self {
            line: line.max(1),
            message: message.into(),
        }
    }
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for RegistrationError {}

/// What a registration file says.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The service's id, which never changes.
    pub id: String,
    /// Where it listens, if anywhere.
    pub url: Option<Url>,
    /// How it identifies itself to this server.
    pub as_token: Secret,
    /// How this server identifies itself to it.
    pub hs_token: Secret,
    /// The localpart of its own user.
    pub sender_localpart: String,
    /// What it is interested in.
    pub namespaces: Namespaces,
    /// Whether its users are rate-limited. Its own user never is.
    pub rate_limited: bool,
    /// The networks that it leads to.
    pub protocols: Vec<String>,
    /// Whether it wants typing notifications, receipts and presence.
    pub receive_ephemeral: bool,
    /// Whether it asked for them by the name they had before they were specified, and so
    /// looks for them under that name too.
    pub wants_old_names: bool,
    /// Whether it has encrypted conversations by way of its transactions: it wants messages to
    /// devices of its users, changes of device lists and counts of keys there (MSC4203, MSC3202).
    pub encrypts: bool,
}

impl Registration {
    /// Reads a registration file. Fields that are not known are left alone: services
    /// write there what other servers understand.
    ///
    /// # Errors
    /// [`RegistrationError`], which names the line and the field.
    pub fn parse(written: &str) -> Result<Self, RegistrationError> {
        if written.len() > MAX_BYTES {
            let reason = format!("the file is longer than {MAX_BYTES} bytes");
            return Err(RegistrationError::at(1, reason));
        }
        let root = yaml::parse(written)?;
        let file = Fields::of(&root, "the file")?;
        let id = file.text("id")?;
        let namespaces = Fields::of(file.required("namespaces")?, "`namespaces`")?;
        Ok(Self {
            url: url(file.required("url")?)?,
            as_token: Secret::from(file.text("as_token")?),
            hs_token: Secret::from(file.text("hs_token")?),
            sender_localpart: localpart(&file)?,
            namespaces: Namespaces {
                users: namespaces.list("users", namespace)?,
                aliases: namespaces.list("aliases", namespace)?,
                rooms: namespaces.list("rooms", namespace)?,
            },
            rate_limited: file.truth("rate_limited")?.unwrap_or(true),
            protocols: file.list("protocols", |node| text(node, "protocols"))?,
            receive_ephemeral: receive_ephemeral(&file)?,
            wants_old_names: file.get("receive_ephemeral").is_none(),
            encrypts: file.truth(ENCRYPTS)?.unwrap_or(false),
            id,
        })
    }
}

/// A map with the name by which mistakes in it are told.
struct Fields<'a> {
    line: usize,
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    fn of(node: &'a Node, what: &str) -> Result<Self, RegistrationError> {
        match &node.value {
            Value::Map(entries) => Ok(Self {
                line: node.line,
                entries,
            }),
            _ if is_null(node) => Ok(Self {
                line: node.line,
                entries: &[],
            }),
            _ => Err(RegistrationError::at(
                node.line,
                format!("{what} must be a map of keys and values"),
            )),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, node)| node)
    }

    fn required(&self, name: &str) -> Result<&'a Node, RegistrationError> {
        self.get(name)
            .ok_or_else(|| RegistrationError::at(self.line, format!("`{name}` is missing")))
    }

    /// A text that must be there.
    fn text(&self, name: &str) -> Result<String, RegistrationError> {
        text(self.required(name)?, name)
    }

    fn truth(&self, name: &str) -> Result<Option<bool>, RegistrationError> {
        self.get(name)
            .filter(|node| !is_null(node))
            .map(|node| truth(node, name))
            .transpose()
    }

    /// The entries of a list, which may be left out.
    fn list<T>(
        &self,
        name: &str,
        entry: impl Fn(&Node) -> Result<T, RegistrationError>,
    ) -> Result<Vec<T>, RegistrationError> {
        let Some(node) = self.get(name).filter(|node| !is_null(node)) else {
            return Ok(Vec::new());
        };
        let wrong = |reason: &str| RegistrationError::at(node.line, format!("`{name}` {reason}"));
        let Value::List(items) = &node.value else {
            return Err(wrong("must be a list"));
        };
        if items.len() > MAX_ENTRIES {
            return Err(wrong("has too many entries"));
        }
        items.iter().map(entry).collect()
    }
}

fn is_null(node: &Node) -> bool {
    match &node.value {
        Value::Text { text, is_plain } => {
            *is_plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
        }
        _ => false,
    }
}

fn text(node: &Node, name: &str) -> Result<String, RegistrationError> {
    let wrong = |reason: &str| RegistrationError::at(node.line, format!("`{name}` {reason}"));
    match &node.value {
        Value::Text { text, .. } if text.is_empty() || is_null(node) => Err(wrong("is empty")),
        Value::Text { text, .. } if text.len() > MAX_TEXT_BYTES => Err(wrong("is too long")),
        Value::Text { text, .. } if text.chars().any(char::is_control) => {
            Err(wrong("has control characters"))
        }
        Value::Text { text, .. } => Ok(text.clone()),
        _ => Err(wrong("must be a text")),
    }
}

/// A truth value, also in the words of YAML 1.1, as many write it.
fn truth(node: &Node, name: &str) -> Result<bool, RegistrationError> {
    let word = match &node.value {
        Value::Text {
            text,
            is_plain: true,
        } => text.to_ascii_lowercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(RegistrationError::at(
            node.line,
            format!("`{name}` must be true or false"),
        )),
    }
}

/// An address for HTTP, perhaps with a path. Empty means the same as null.
fn url(node: &Node) -> Result<Option<Url>, RegistrationError> {
    if is_null(node) || matches!(&node.value, Value::Text { text, .. } if text.is_empty()) {
        return Ok(None);
    }
    let written = text(node, "url")?;
    let wrong = |reason: &str| {
        let message = format!("`url` is \"{written}\": {reason}");
        RegistrationError::at(node.line, message)
    };
    let url = Url::parse(&written).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must not have a query or fragment"));
    }
    Ok(Some(url))
}

fn localpart(file: &Fields<'_>) -> Result<String, RegistrationError> {
    let localpart = file.text("sender_localpart")?;
    let line = file.get("sender_localpart").map_or(1, |node| node.line);
    if is_localpart(&localpart) {
        Ok(localpart)
    } else {
        let reason = "consists of a-z, 0-9 and . _ = - / +, without @ and server name";
        Err(RegistrationError::at(
            line,
            format!("`sender_localpart` {reason}"),
        ))
    }
}

/// Whether text may stand before the colon of a user id (appendices, "User Identifiers").
pub(crate) fn is_localpart(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
    !text.is_empty() && text.bytes().all(allowed)
}

fn receive_ephemeral(file: &Fields<'_>) -> Result<bool, RegistrationError> {
    if let Some(wanted) = file.truth("receive_ephemeral")? {
        return Ok(wanted);
    }
    for name in OLD_RECEIVE_EPHEMERAL {
        if let Some(wanted) = file.truth(name)? {
            return Ok(wanted);
        }
    }
    Ok(false)
}

fn namespace(node: &Node) -> Result<Namespace, RegistrationError> {
    let fields = Fields::of(node, "a namespace")?;
    let line = fields.required("regex")?.line;
    let regex = match &fields.required("regex")?.value {
        Value::Text { text, .. } => text,
        _ => return Err(RegistrationError::at(line, "`regex` must be a text")),
    };
    // Many leave it out, and other servers take that as false.
    let is_exclusive = fields.truth("exclusive")?.unwrap_or(false);
    Namespace::new(regex, is_exclusive)
        .map_err(|error| RegistrationError::at(line, format!("`regex` is not usable: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r##"
id: "IRC Bridge"
url: "http://127.0.0.1:1234/here"
as_token: "30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46"
hs_token: 312000
sender_localpart: "_irc_bot" # Will result in @_irc_bot:example.org
rate_limited: no
receive_ephemeral: true
org.matrix.msc3202: true
protocols: [irc]
something.else: { of: [other, servers] }
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_bridge_.*"
  aliases:
    - exclusive: false
      regex: "#_irc_bridge_.*"
  rooms: []
"##;

    #[test]
    fn a_whole_file_is_understood() {
        let registration = Registration::parse(WHOLE).unwrap();
        assert_eq!(registration.id, "IRC Bridge");
        let url = registration.url.as_ref().unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:1234/here");
        // Whatever it looks like, a token is a text.
        assert_eq!(registration.hs_token.reveal(), "312000");
        assert_eq!(registration.sender_localpart, "_irc_bot");
        assert!(!registration.rate_limited && registration.receive_ephemeral);
        assert!(registration.encrypts);
        assert_eq!(registration.protocols, ["irc"]);
        assert!(registration.namespaces.rooms.is_empty());
        assert!(registration.namespaces.users[0].is_exclusive());
        assert!(!registration.namespaces.aliases[0].is_exclusive());
        assert!(!format!("{registration:?}").contains("30c05"));
    }

    #[test]
    fn little_is_enough() {
        let text = "id: a\nurl: null\nas_token: b\nhs_token: c\nsender_localpart: d\n\
                    namespaces: {}\nde.sorunome.msc2409.push_ephemeral: true\n";
        let registration = Registration::parse(text).unwrap();
        assert!(registration.url.is_none() && registration.protocols.is_empty());
        assert!(registration.rate_limited && registration.receive_ephemeral);
        assert!(!registration.encrypts);
        assert!(registration.namespaces.users.is_empty());
    }

    #[test]
    fn mistakes_name_their_line_and_field() {
        let without = |field: &str| {
            let lines = WHOLE.lines().filter(|line| !line.starts_with(field));
            lines.collect::<Vec<_>>().join("\n")
        };
        for (text, line, expected) in [
            (without("id:"), 2, "`id` is missing"),
            (without("url:"), 2, "`url` is missing"),
            (without("as_token:"), 2, "`as_token` is missing"),
            (without("hs_token:"), 2, "`hs_token` is missing"),
            (
                without("sender_localpart:"),
                2,
                "`sender_localpart` is missing",
            ),
            (
                WHOLE.replace("http://127", "ftp://127"),
                3,
                "`url` is \"ftp://127",
            ),
            (
                WHOLE.replace("http://127", "http://a:b@127"),
                3,
                "user name",
            ),
            (
                WHOLE.replace("312000", "[]"),
                5,
                "`hs_token` must be a text",
            ),
            (WHOLE.replace("312000", "''"), 5, "`hs_token` is empty"),
            (
                WHOLE.replace("_irc_bot", "@irc"),
                6,
                "`sender_localpart` consists of",
            ),
            (
                WHOLE.replace("rate_limited: no", "rate_limited: never"),
                7,
                "`rate_limited` must be true or false",
            ),
            (
                WHOLE.replace("[irc]", "irc"),
                10,
                "`protocols` must be a list",
            ),
            (
                WHOLE.replace("exclusive: true", "exclusive: 1"),
                14,
                "`exclusive` must be true or false",
            ),
            (
                WHOLE.replace("@_irc_bridge_.*", "@_irc(.*"),
                15,
                "`regex` is not usable",
            ),
            ("[]".to_owned(), 1, "the file must be a map"),
            ("a".repeat(MAX_BYTES + 1), 1, "longer than"),
        ] {
            let error = Registration::parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{expected}: {error}");
            assert!(error.message.contains(expected), "{expected}: {error}");
        }
    }
}
