//! Where people and their clients reach this server, and what newcomers are told.

use std::net::SocketAddr;

use http::Uri;
use web::Serves;

use super::{Config, Document, Problem, Source};

/// The most apps that newcomers are shown.
const MOST_CLIENTS: usize = 12;
/// The longest name of an app or platform, in bytes.
const LONGEST_NAME: usize = 60;
/// The longest address, in bytes: a QR code holds it.
const LONGEST_ADDRESS: usize = 500;

/// The address that people and their clients use for this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicAddress {
    /// Without a slash at its end: `https://chat.council.example`.
    pub(crate) url: String,
    /// Whether the operator has named it. Otherwise it is a listener's own, which
    /// may not be reached from everywhere.
    pub(crate) is_configured: bool,
}

impl Config {
    /// The server's address for people; none if nobody has named it and the
    /// listeners take any free port.
    pub(crate) fn public_address(&self) -> Option<PublicAddress> {
        if let Some(url) = self.named_address() {
            return Some(PublicAddress {
                url,
                is_configured: true,
            });
        }
        let listener = self.listeners.iter().find(|listener| {
            listener.serves.contains(&Serves::Client) && listener.address.port() != 0
        })?;
        Some(PublicAddress {
            url: self.listeners_address(listener.address, listener.tls.is_some()),
            is_configured: false,
        })
    }

    /// The server's address for people who came to a listener.
    pub(crate) fn address_on(&self, bound: SocketAddr, is_tls: bool) -> String {
        self.named_address()
            .unwrap_or_else(|| self.listeners_address(bound, is_tls))
    }

    /// Whom people tell that something is wrong with the server: an address that begins with
    /// `https:`, `mailto:` or the like.
    pub(crate) fn contact(&self) -> String {
        let known = &self.well_known;
        let forms = [
            ("mailto:", &known.support_email),
            ("", &known.support_page),
            ("https://matrix.to/#/", &known.support_user),
        ];
        let named = forms.into_iter().find(|(_, text)| !text.is_empty());
        match (named, self.public_address()) {
            (Some((form, text)), _) => format!("{form}{text}"),
            // The landing page there.
            (None, Some(address)) => address.url,
            (None, None) => format!("https://{}", self.server_name),
        }
    }

    fn named_address(&self) -> Option<String> {
        let named = self.well_known.client.trim_end_matches('/');
        (!named.is_empty()).then(|| named.to_owned())
    }

    /// A listener's own address. One that listens everywhere has none, and the
    /// server's name may lead there.
    fn listeners_address(&self, bound: SocketAddr, is_tls: bool) -> String {
        let (scheme, usual_port) = if is_tls { ("https", 443) } else { ("http", 80) };
        let host = match bound {
            _ if bound.ip().is_unspecified() => self.server_name.host().to_owned(),
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        match bound.port() {
            port if port == usual_port => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        }
    }
}

/// What is wrong with the addresses that newcomers are told.
pub(super) fn problems(source: &Source<'_>, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |path: &[&str], message: String| problems.push(source.problem(path, message));

    let client = document.well_known.client.as_str();
    if !client.is_empty() && (!is_web_address(client) || client.contains(['?', '#'])) {
        let message = "`client` is no address: write it as https://matrix.council.example";
        report(&["well_known", "client"], message.to_owned());
    }
    let joining = &document.joining;
    let link = joining.sign_in_link.as_str();
    // What is filled in has the form of an address.
    let sample = link
        .replace("{address}", "https://a")
        .replace(['{', '}'], "");
    if !link.is_empty() && !is_web_address(&sample) {
        let message = "`sign_in_link` is no link: it begins with https://, http:// or {address}";
        report(&["joining", "sign_in_link"], message.to_owned());
    }
    if joining.clients.len() > MOST_CLIENTS {
        report(
            &["joining", "clients"],
            format!("newcomers are shown at most {MOST_CLIENTS} apps"),
        );
    }
    for (index, client) in joining.clients.iter().enumerate() {
        let index = index.to_string();
        for (key, text) in [("name", &client.name), ("platform", &client.platform)] {
            if text.trim().is_empty() || text.len() > LONGEST_NAME {
                report(
                    &["joining", "clients", &index, key],
                    format!("`{key}` has 1 to {LONGEST_NAME} bytes"),
                );
            }
        }
        let address = client.address.as_str();
        if !is_web_address(address) && !is_own_path(address) {
            report(
                &["joining", "clients", &index, "address"],
                format!(
                    "`{address}` is no address: it begins with https://, http:// or, on this \
                     server's own address, /"
                ),
            );
        }
    }
    problems
}

/// Whether a browser can open it as a page.
fn is_web_address(text: &str) -> bool {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let has_host = |uri: Uri| uri.host().is_some_and(|host| !host.is_empty());
    is_web && is_short(text) && text.parse().is_ok_and(has_host)
}

/// Whether it is a path on this server's own address.
fn is_own_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && is_short(text)
}

fn is_short(address: &str) -> bool {
    address.len() <= LONGEST_ADDRESS
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(listener: &str, more: &str) -> Config {
        let text = format!("server_name = \"a.test\"\n[[listener]]\n{listener}\n{more}\n");
        Config::parse(Path::new("cairn.toml"), &text).unwrap()
    }

    #[test]
    fn the_named_address_is_the_servers() {
        let more = "[well_known]\nclient = \"https://chat.a.test/\"";
        let config = config("address = \"127.0.0.1:0\"", more);
        let address = config.public_address().unwrap();
        assert_eq!(address.url, "https://chat.a.test");
        assert!(address.is_configured);
        let bound = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(config.address_on(bound, true), "https://chat.a.test");
    }

    #[test]
    fn without_one_it_is_the_listeners() {
        for (address, expected) in [
            ("127.0.0.1:8008", Some("http://127.0.0.1:8008")),
            ("[::1]:8008", Some("http://[::1]:8008")),
            ("10.0.0.5:80", Some("http://10.0.0.5")),
            ("10.0.0.5:443", Some("http://10.0.0.5:443")),
            // Everywhere is no address to open.
            ("0.0.0.0:8008", Some("http://a.test:8008")),
            ("[::]:8008", Some("http://a.test:8008")),
            // Nobody knows the port before the server runs.
            ("127.0.0.1:0", None),
        ] {
            let config = config(&format!("address = \"{address}\""), "");
            let found = config.public_address();
            assert_eq!(
                found.as_ref().map(|found| found.url.as_str()),
                expected,
                "{address}"
            );
            assert!(found.is_none_or(|found| !found.is_configured));
        }
        let config = config("address = \"127.0.0.1:0\"", "");
        let bound = |text: &str| text.parse().unwrap();
        assert_eq!(
            config.address_on(bound("10.0.0.5:443"), true),
            "https://10.0.0.5"
        );
        assert_eq!(
            config.address_on(bound("10.0.0.5:8448"), true),
            "https://10.0.0.5:8448"
        );
    }

    #[test]
    fn the_first_listener_for_clients_counts() {
        let listeners = "address = \"127.0.0.1:9000\"\nserves = [\"metrics\"]\n\
                         [[listener]]\naddress = \"127.0.0.1:8008\"";
        let address = config(listeners, "").public_address().unwrap();
        assert_eq!(address.url, "http://127.0.0.1:8008");
    }

    #[test]
    fn what_newcomers_are_told_is_checked() {
        let client = |fields: &str| format!("[joining]\nclients = [{{ {fields} }}]");
        let many = "{ name = \"a\", platform = \"b\", address = \"/c\" },".repeat(13);
        for (more, mistake) in [
            ("[well_known]\nclient = \"https://a.test\"".to_owned(), ""),
            ("[well_known]\nclient = \"a.test\"".to_owned(), "no address"),
            (
                "[well_known]\nclient = \"ftp://a.test\"".to_owned(),
                "no address",
            ),
            (
                "[well_known]\nclient = \"https://\"".to_owned(),
                "no address",
            ),
            (
                "[well_known]\nclient = \"https://a b\"".to_owned(),
                "no address",
            ),
            (
                "[well_known]\nclient = \"https://a/?b\"".to_owned(),
                "no address",
            ),
            ("[joining]\nsign_in_link = \"{address}\"".to_owned(), ""),
            (
                "[joining]\nsign_in_link = \"https://m/?p={server_name}&h=mxid:{user_id}\""
                    .to_owned(),
                "",
            ),
            (
                "[joining]\nsign_in_link = \"javascript:alert(1)\"".to_owned(),
                "no link",
            ),
            (
                client("name = \"a\", platform = \"b\", address = \"https://c/d\""),
                "",
            ),
            (
                client("name = \"a\", platform = \"b\", address = \"/apps/a.apk\""),
                "",
            ),
            (
                client("name = \"\", platform = \"b\", address = \"/a\""),
                "`name` has 1",
            ),
            (
                client("name = \"a\", platform = \" \", address = \"/a\""),
                "`platform` has 1",
            ),
            (
                client("name = \"a\", platform = \"b\", address = \"//evil.example\""),
                "no address",
            ),
            (
                client("name = \"a\", platform = \"b\", address = \"javascript:alert(1)\""),
                "no address",
            ),
            (
                client("nam = \"a\", platform = \"b\", address = \"/a\""),
                "the nearest known key is `name`",
            ),
            (format!("[joining]\nclients = [{many}]"), "at most 12"),
        ] {
            let text = format!(
                "server_name = \"a.test\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n{more}\n"
            );
            let said = match Config::parse(Path::new("cairn.toml"), &text) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said.is_empty(), mistake.is_empty(), "{more}: {said}");
            assert!(said.contains(mistake), "{more}: {said}");
        }
    }
}
