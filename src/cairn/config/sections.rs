//! Which sections and keys there are, and the example that shows them all.

use accounts::{AccountsOptions, RegistrationOptions, TurnOptions};
use certificates::CertificateOptions;
use client_api::{RtcOptions, WellKnownOptions};
use console::{ConsoleOptions, JoiningOptions};
use delivery::{AppservicesOptions, PushOptions};
use mail::MailOptions;
use media::MediaOptions;
use outgoing::OutgoingOptions;
use peers::FederationOptions;
use previews::PreviewOptions;
use rooms::{Marking, RoomRule, RoomsOptions};
use runtime::OptionDescription;
use store::DatabaseOptions;
use web::LimitsOptions;

use super::{
    Document,
    options::{ListenerOptions, LogOptions},
};

/// One section of the configuration.
pub(super) struct Section {
    /// Its name in brackets; empty for the keys above the first section. A name
    /// with a dot is a table inside a key of another section.
    pub(super) name: &'static str,
    /// Whether it may be repeated, in double brackets.
    pub(super) repeated: bool,
    /// What it is for.
    pub(super) about: String,
    /// Its keys.
    pub(super) options: Vec<OptionDescription>,
}

impl Section {
    /// The name as the file writes it: `[rooms]`, `[[listener]]`.
    pub(super) fn title(&self) -> String {
        if self.repeated {
            format!("[[{}]]", self.name)
        } else {
            format!("[{}]", self.name)
        }
    }
}

macro_rules! section {
    ($options:ty) => {
        section!($options, false)
    };
    ($options:ty, $repeated:expr) => {
        Section {
            name: <$options>::SECTION,
            repeated: $repeated,
            about: <$options>::about(),
            options: <$options>::describe(),
        }
    };
}

/// All sections, in the order in which the example shows them. A crate's options
/// take part in the configuration by standing here and in [`Document`].
pub(super) fn all() -> Vec<Section> {
    vec![
        section!(Document),
        section!(ListenerOptions, true),
        tls(),
        section!(CertificateOptions),
        section!(RegistrationOptions),
        section!(AccountsOptions),
        section!(RoomsOptions),
        section!(Marking),
        section!(RoomRule),
        section!(DatabaseOptions),
        section!(MediaOptions),
        section!(PreviewOptions),
        section!(OutgoingOptions),
        section!(MailOptions),
        section!(PushOptions),
        section!(AppservicesOptions),
        section!(FederationOptions),
        section!(LimitsOptions),
        section!(WellKnownOptions),
        section!(TurnOptions),
        section!(RtcOptions),
        section!(JoiningOptions),
        section!(ConsoleOptions),
        clients(),
        section!(LogOptions),
    ]
}

/// The keys of a listener's `tls`, both of which must be given.
fn tls() -> Section {
    inner(
        "listener.tls",
        "The certificate of a listener.",
        &[
            (
                "certificate",
                "The PEM file of the certificate and those that lead to its root.",
            ),
            ("key", "The PEM file of the certificate's private key."),
        ],
    )
}

/// The keys of an app that newcomers are shown, all of which must be given.
fn clients() -> Section {
    inner(
        "joining.clients",
        "An app that newcomers may install.",
        &[
            ("name", "Its name, as people know it."),
            ("platform", "What it runs on."),
            ("address", "Where to get it."),
        ],
    )
}

/// A table inside a key, whose keys have no defaults.
fn inner(name: &'static str, about: &str, keys: &[(&'static str, &str)]) -> Section {
    let described = keys.iter().map(|(key, doc)| OptionDescription {
        key,
        doc: (*doc).to_owned(),
        default: None,
    });
    Section {
        name,
        repeated: false,
        about: about.to_owned(),
        options: described.collect(),
    }
}

/// The names of all sections.
#[cfg(test)]
pub(crate) fn section_names() -> Vec<&'static str> {
    all().iter().map(|section| section.name).collect()
}

/// What the example shows for keys that must be chosen or are unset by default.
const CHOSEN: [(&str, &str, &str); 2] = [
    ("", "server_name", "\"council.example\""),
    (
        "listener",
        "tls",
        "{ certificate = \"/etc/cairn/tls/cert.pem\", key = \"/etc/cairn/tls/key.pem\" }",
    ),
];

/// A configuration with every option, its meaning and its default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Cairn's configuration: every option, its meaning and its default.\n\
         #\n\
         # A line that begins with `#` and a key shows the default; remove the `#` to change it.\n\
         # Relative paths start at this file's folder. `cairn config check` finds mistakes.\n",
    );
    let sections = all();
    for section in sections
        .iter()
        .filter(|section| !section.name.contains('.'))
    {
        text.push('\n');
        if !section.name.is_empty() {
            push_comment(&mut text, &section.about);
            text.push_str(&section.title());
            text.push('\n');
        }
        let options = section.options.iter().filter(|option| {
            // A section is itself a key of the document, and is shown as a section.
            !(section.name.is_empty() && sections.iter().any(|other| other.name == option.key))
        });
        for (number, option) in options.enumerate() {
            if number > 0 {
                text.push('\n');
            }
            push_option(&mut text, section, option);
        }
    }
    text
}

fn push_option(text: &mut String, section: &Section, option: &OptionDescription) {
    push_comment(text, &option.doc);
    let chosen = CHOSEN
        .iter()
        .find(|(name, key, _)| (*name, *key) == (section.name, option.key));
    let value = match (chosen, &option.default) {
        (Some((_, _, value)), _) => value,
        (None, Some(default)) => default.as_str(),
        (None, None) => "",
    };
    // What stands above the sections and the address must be decided by everybody.
    let decided = section.name.is_empty() || (section.name, option.key) == ("listener", "address");
    let mark = if decided { "" } else { "#" };
    text.push_str(&format!("{mark}{} = {value}\n", option.key));
}

fn push_comment(text: &mut String, comment: &str) {
    for line in comment.lines() {
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config::Config, house};

    #[test]
    fn the_example_file_is_up_to_date() {
        let file = house::root().join("config/cairn.example.toml");
        assert_eq!(
            std::fs::read_to_string(file).unwrap_or_default(),
            example(),
            "config/cairn.example.toml is stale: `make example` writes it anew"
        );
    }

    #[test]
    fn the_example_is_valid_and_its_comments_are_the_defaults() {
        let file = Path::new("cairn.toml");
        let example = example();
        let given = Config::parse(file, &example).unwrap();
        // TLS is no default, and its files do not exist here.
        let uncommented: String = example
            .lines()
            .filter(|line| !line.starts_with("# ") && !line.starts_with("#tls"))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        let written_out = Config::parse(file, &uncommented).unwrap();
        assert_eq!(
            toml::to_string(&given).unwrap(),
            toml::to_string(&written_out).unwrap()
        );
    }

    #[test]
    fn every_option_and_section_is_documented() {
        for section in all() {
            assert!(
                !section.about.is_empty(),
                "{} has no doc comment",
                section.title()
            );
            for option in section.options {
                let key = option.key;
                assert!(
                    !option.doc.is_empty(),
                    "{key} in {} has no doc comment",
                    section.name
                );
            }
        }
    }
}
