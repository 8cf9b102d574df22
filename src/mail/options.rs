//! The section `[mail]` of the configuration.

use std::{net::IpAddr, path::PathBuf};

use lettre::Address;
use runtime::Secret;
use serde::{Deserialize, Serialize};

/// How the connection to the relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// Not at all: for a relay on this machine or in a network that you trust.
    None,
    /// It begins in the clear and must become TLS before anything is said (RFC 3207).
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
}

runtime::options! {
    /// E-mail, by way of a relay of yours: for people who confirm an address of theirs, or
    /// have forgotten their password.
    pub struct MailOptions in "mail" {
        /// The relay's host and port, "mail.council.example:587" for instance. Empty: the server
        /// sends no e-mail, and nobody can add an address.
        pub relay: String = String::new(),
        /// "starttls": the connection becomes TLS before anything is said, as on port 587;
        /// "implicit": it is TLS from the first byte, as on port 465; "none": it is not
        /// protected, for a relay on this machine or in a network that you trust.
        pub tls: MailTls = MailTls::Starttls,
        /// The name with which the server signs in at the relay. Empty: it does not.
        pub user: String = String::new(),
        /// The password for that.
        pub password: Secret = Secret::default(),
        /// A file that holds the password instead: a systemd credential, for instance.
        pub password_file: PathBuf = PathBuf::new(),
        /// The address from which the e-mail comes, "chat@council.example" for instance.
        pub sender: String = String::new(),
        /// The name that stands beside it. Empty: the server's name.
        pub sender_name: String = String::new(),
    }
}

/// Something in the options that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct OptionMistake {
    /// The option.
    pub key: &'static str,
    /// What is wrong with it: a sentence for a person.
    pub text: String,
}

impl MailOptions {
    /// Whether there is a relay.
    pub fn is_on(&self) -> bool {
        !self.relay.is_empty()
    }

    /// Everything that is wrong with the options; nothing is without a relay.
    pub fn mistakes(&self) -> Vec<OptionMistake> {
        let mut found = Vec::new();
        let mut report = |key, text: &str| {
            found.push(OptionMistake {
                key,
                text: text.to_owned(),
            });
        };
        if !self.is_on() {
            return found;
        }
        if self.place().is_none() {
            report(
                "relay",
                "`relay` is a host and a port, such as mail.council.example:587",
            );
        }
        if self.sender.parse::<Address>().is_err() {
            report(
                "sender",
                "`sender` is no e-mail address: write one such as chat@council.example",
            );
        }
        let has_file = !self.password_file.as_os_str().is_empty();
        if has_file && !self.password.is_empty() {
            let text = "`password` and `password_file` are both there: which one counts?";
            report("password_file", text);
        }
        if self.user.is_empty() && (has_file || !self.password.is_empty()) {
            report("user", "there is a password, and no `user` that has it");
        }
        let is_near = self.place().is_some_and(|(host, _)| is_this_machine(&host));
        if self.tls == MailTls::None && !self.user.is_empty() && !is_near {
            report(
                "tls",
                "with `tls` = \"none\" the password would go through the network in the clear",
            );
        }
        found
    }

    /// The relay's host, without brackets, and its port.
    pub(crate) fn place(&self) -> Option<(String, u16)> {
        let (host, port) = self.relay.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_name = |host: &str| {
            let mut letters = host.bytes();
            !host.is_empty()
                && letters.all(|letter| letter.is_ascii_alphanumeric() || b".-_".contains(&letter))
        };
        let is_host = bare.parse::<IpAddr>().is_ok() || is_name(host);
        is_host.then(|| (bare.to_owned(), port))
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<&'static str> {
        let options: MailOptions = toml::from_str(text).unwrap();
        let found = options.mistakes();
        found.into_iter().map(|mistake| mistake.key).collect()
    }

    #[test]
    fn a_relay_is_a_host_and_a_port() {
        for (relay, expected) in [
            ("mail.example:587", Some(("mail.example", 587))),
            ("10.0.0.1:25", Some(("10.0.0.1", 25))),
            ("[fd00::1]:25", Some(("fd00::1", 25))),
            ("mail.example", None),
            ("mail.example:", None),
            ("mail.example:0", None),
            ("mail.example:70000", None),
            (":25", None),
            ("a b:25", None),
            ("smtp://mail.example:25", None),
        ] {
            let options = MailOptions {
                relay: relay.to_owned(),
                ..MailOptions::default()
            };
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(options.place(), expected, "{relay}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let good = "relay = 'mail.example:587'\nsender = 'a@b.example'";
        for (more, expected) in [
            ("", &[][..]),
            ("user = 'a'\npassword = 'b'", &[]),
            ("password = 'b'", &["user"]),
            (
                "user = 'a'\npassword = 'b'\npassword_file = '/c'",
                &["password_file"],
            ),
            ("user = 'a'\npassword = 'b'\ntls = 'none'", &["tls"]),
            ("tls = 'none'", &[]),
        ] {
            assert_eq!(mistakes(&format!("{good}\n{more}")), expected, "{more}");
        }
        assert_eq!(mistakes("relay = 'a b'"), ["relay", "sender"]);
        let near = "relay = '127.0.0.1:25'\nsender = 'a@b.example'\ntls = 'none'\nuser = 'a'";
        assert!(mistakes(near).is_empty());
        // Without a relay there is nothing to be wrong.
        assert!(mistakes("sender = 'x'\npassword = 'b'").is_empty());
    }
}
