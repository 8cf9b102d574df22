//! The configuration: one TOML file, composed from each crate's options, checked
//! as a whole before anything starts.
//!
//! Every mistake names the file and the line; an unknown key is a mistake and
//! names the nearest known one.

mod address;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod options;
mod registrations;
mod sections;
mod source;

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use accounts::{AccountsOptions, RegistrationOptions, TurnOptions};
use certificates::CertificateOptions;
use client_api::{RtcOptions, WellKnownOptions};
use console::JoiningOptions;
use delivery::{AppservicesOptions, PushOptions};
use graph::Version;
use mail::MailOptions;
use media::MediaOptions;
use outgoing::OutgoingOptions;
use peers::FederationOptions;
use previews::PreviewOptions;
use rooms::RoomsOptions;
use ruma_common::{OwnedServerName, ServerName};
use serde::Serialize;
use services::Registration;
use store::DatabaseOptions;
use web::{LimitsOptions, Serves};

pub(crate) use self::sections::example;
#[cfg(test)]
pub(crate) use self::sections::section_names;
use self::{
    options::{ListenerOptions, LogOptions},
    source::{Problem, Source},
};

/// An event may have 65,536 bytes, and its escaped JSON somewhat more.
const SMALLEST_BODY_LIMIT: u64 = 131_072;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {error}; `cairn init` writes a configuration", file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file has mistakes.
    #[error("{}", list(problems))]
    Invalid {
        /// Every mistake found, at least one, by line.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// The mistakes in the file; none if it could not be read.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { problems } => problems,
        }
    }
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

runtime::options! {
    /// The file as written.
    struct Document in "" {
        /// The name behind the colon of every user's id: a domain that you control. It can never
        /// be changed once somebody has signed in.
        server_name: String = String::new(),
        /// The folder in which the server keeps everything: database, keys, files.
        data_dir: PathBuf = PathBuf::from("/var/lib/cairn"),
        /// The addresses to listen on.
        listener: Vec<ListenerOptions> = Vec::new(),
        /// Certificates that the server sees to itself.
        certificates: CertificateOptions = CertificateOptions::default(),
        /// Who may create an account.
        registration: RegistrationOptions = RegistrationOptions::default(),
        /// Passwords and sessions.
        accounts: AccountsOptions = AccountsOptions::default(),
        /// How rooms are made.
        rooms: RoomsOptions = RoomsOptions::default(),
        /// The database.
        database: DatabaseOptions = DatabaseOptions::default(),
        /// Files that people upload.
        media: MediaOptions = MediaOptions::default(),
        /// Previews of web pages.
        url_previews: PreviewOptions = PreviewOptions::default(),
        /// Every request that this server makes.
        outgoing: OutgoingOptions = OutgoingOptions::default(),
        /// E-mail.
        mail: MailOptions = MailOptions::default(),
        /// Notifications for phones, by way of push gateways.
        push: PushOptions = PushOptions::default(),
        /// Bridges and other application services.
        application_services: AppservicesOptions = AppservicesOptions::default(),
        /// Conversations with other servers.
        federation: FederationOptions = FederationOptions::default(),
        /// What one person or address may ask for.
        limits: LimitsOptions = LimitsOptions::default(),
        /// What clients find at /.well-known/matrix.
        well_known: WellKnownOptions = WellKnownOptions::default(),
        /// Servers that carry calls.
        turn: TurnOptions = TurnOptions::default(),
        /// Calls of many people.
        rtc: RtcOptions = RtcOptions::default(),
        /// What newcomers are told.
        joining: JoiningOptions = JoiningOptions::default(),
        /// The log.
        log: LogOptions = LogOptions::default(),
    }
}

/// A checked configuration. Serialises with secrets hidden. Paths are relative to
/// the working directory or absolute, never to the file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Config {
    /// This server's name.
    pub(crate) server_name: OwnedServerName,
    /// Where the server keeps everything.
    pub(crate) data_dir: PathBuf,
    /// The addresses to listen on; at least one serves clients.
    #[serde(rename = "listener")]
    pub(crate) listeners: Vec<ListenerOptions>,
    /// Certificates that the server sees to itself.
    pub(crate) certificates: CertificateOptions,
    /// Who may create an account.
    pub(crate) registration: RegistrationOptions,
    /// Passwords and sessions.
    pub(crate) accounts: AccountsOptions,
    /// How rooms are made.
    pub(crate) rooms: RoomsOptions,
    /// The database.
    pub(crate) database: DatabaseOptions,
    /// Files that people upload.
    pub(crate) media: MediaOptions,
    /// Previews of web pages.
    pub(crate) url_previews: PreviewOptions,
    /// Every request that this server makes.
    pub(crate) outgoing: OutgoingOptions,
    /// E-mail.
    pub(crate) mail: MailOptions,
    /// Notifications for phones.
    pub(crate) push: PushOptions,
    /// Bridges and other application services, and…
    pub(crate) application_services: AppservicesOptions,
    /// …what their registration files say.
    #[serde(skip)]
    pub(crate) registrations: Vec<Registration>,
    /// Conversations with other servers.
    pub(crate) federation: FederationOptions,
    /// What one person or address may ask for.
    pub(crate) limits: LimitsOptions,
    /// What clients find at /.well-known/matrix.
    pub(crate) well_known: WellKnownOptions,
    /// Servers that carry calls.
    pub(crate) turn: TurnOptions,
    /// Which servers carry calls.
    pub(crate) rtc: RtcOptions,
    /// What newcomers are told.
    pub(crate) joining: JoiningOptions,
    /// The log.
    pub(crate) log: LogOptions,
}

impl Config {
    /// Reads and checks a configuration file, and that the files it names can be
    /// read.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake that can be found at once.
    pub(crate) fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable {
            file: file.to_owned(),
            error,
        })?;
        Self::parse(file, &text)
    }

    /// Like [`Config::load`] with the file's text at hand; `file` names it in
    /// errors, and its folder is where relative paths start.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |problems| ConfigError::Invalid { problems };
        let source = Source::parse(file, text).map_err(|problem| invalid(vec![problem]))?;
        let unknown = source.unknown_keys();
        if !unknown.is_empty() {
            return Err(invalid(unknown));
        }
        let mut document: Document =
            toml::from_str(text).map_err(|error| invalid(vec![source.decoding_problem(&error)]))?;
        resolve_paths(&mut document, file.parent().unwrap_or(Path::new("")));

        let mut problems = problems_of(&source, &document);
        let server_name = match ServerName::parse(&document.server_name) {
            Ok(server_name) => server_name,
            Err(_) => {
                problems.insert(0, source.problem(&["server_name"], no_name(&document)));
                return Err(invalid(problems));
            }
        };
        let registrations = match registrations::load(&source, &document, &server_name) {
            Ok(registrations) => registrations,
            Err(found) => {
                problems.extend(found);
                Vec::new()
            }
        };
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        Ok(Self {
            registrations,
            application_services: document.application_services,
            server_name,
            data_dir: document.data_dir,
            listeners: document.listener,
            certificates: document.certificates,
            registration: document.registration,
            accounts: document.accounts,
            rooms: document.rooms,
            database: document.database,
            media: document.media,
            url_previews: document.url_previews,
            outgoing: document.outgoing,
            mail: document.mail,
            push: document.push,
            federation: document.federation,
            limits: document.limits,
            well_known: document.well_known,
            turn: document.turn,
            rtc: document.rtc,
            joining: document.joining,
            log: document.log,
        })
    }
}

impl Config {
    /// The credentials that the configuration names and the service manager has not handed
    /// over to this process.
    pub(crate) fn absent_credentials(&self) -> Vec<String> {
        fn gather(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::String(text) => {
                    found.extend(text.strip_prefix(runtime::ABSENT).map(str::to_owned));
                }
                serde_json::Value::Array(items) => {
                    items.iter().for_each(|item| gather(item, found))
                }
                serde_json::Value::Object(fields) => {
                    fields.values().for_each(|field| gather(field, found));
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        gather(&serde_json::to_value(self).unwrap_or_default(), &mut found);
        found
    }
}

fn no_name(document: &Document) -> String {
    match document.server_name.as_str() {
        "" => "`server_name` is missing: the domain behind the colon of every user's id".to_owned(),
        name => format!("`{name}` is no server name: write a domain such as council.example"),
    }
}

/// Makes every path start at `folder`, the configuration file's; absolute ones stay.
fn resolve_paths(document: &mut Document, folder: &Path) {
    let paths = [&mut document.data_dir]
        .into_iter()
        .chain([&mut document.mail.password_file])
        .chain(&mut document.outgoing.trusted_roots)
        .chain(&mut document.application_services.registrations)
        .chain(
            document
                .listener
                .iter_mut()
                .filter_map(|listener| listener.tls.as_mut())
                .flat_map(|tls| [&mut tls.certificate, &mut tls.key]),
        )
        .filter(|path| !path.as_os_str().is_empty());
    for path in paths {
        *path = folder.join(&path);
    }
}

/// What is wrong although every value has the right type; the server's name is
/// checked apart.
fn problems_of(source: &Source<'_>, document: &Document) -> Vec<Problem> {
    let mut problems = listener_problems(source, document);
    problems.extend(address::problems(source, document));
    let mut report = |path: &[&str], message: String| problems.push(source.problem(path, message));

    if document.data_dir.as_os_str().is_empty() {
        report(
            &["data_dir"],
            "`data_dir` is empty: name a folder".to_owned(),
        );
    }
    let version = document.rooms.default_version.as_str();
    let stable = || Version::KNOWN.into_iter().filter(|it| it.is_stable());
    if !stable().any(|it| it.as_str() == version) {
        let known = stable().map(Version::as_str).collect::<Vec<_>>().join(", ");
        report(
            &["rooms", "default_version"],
            format!("rooms of version `{version}` cannot be created here; choose one of {known}"),
        );
    }
    for (key, text) in document.rooms.mistakes() {
        report(&["rooms", key], text);
    }
    if let Err(error) = document.media.open_before() {
        report(&["media", "unauthenticated_until"], error.to_string());
    }
    for mistake in document.mail.mistakes() {
        report(&["mail", mistake.key], mistake.text);
    }
    let password_file = &document.mail.password_file;
    if !password_file.as_os_str().is_empty()
        && let Err(message) = readable(password_file)
    {
        report(&["mail", "password_file"], message);
    }
    if document.registration.require_email && !document.mail.is_on() {
        report(
            &["registration", "require_email"],
            "`require_email` needs a relay: name one in [mail]".to_owned(),
        );
    }
    for (index, root) in document.outgoing.trusted_roots.iter().enumerate() {
        if let Err(message) = readable(root) {
            report(&["outgoing", "trusted_roots", &index.to_string()], message);
        }
    }
    for (index, name) in document.federation.key_servers.iter().enumerate() {
        if ServerName::parse(name).is_err() {
            report(
                &["federation", "key_servers", &index.to_string()],
                format!("`{name}` is no server name"),
            );
        }
    }
    for (name, error) in document.federation.pinned_key_problems() {
        report(&["federation", "pinned_keys", name], error.to_string());
    }
    if let Err(error) = document.federation.authority() {
        report(&["federation", "peer_list_key"], error.to_string());
    }
    if let Err(error) = document.federation.list_url() {
        report(&["federation", "peer_list_url"], error.to_string());
    }
    let delegate = document.well_known.server.as_str();
    if !delegate.is_empty() && ServerName::parse(delegate).is_err() {
        report(
            &["well_known", "server"],
            format!("`{delegate}` is no server name, which has no https:// before it"),
        );
    }
    for name in document.federation.overrides.keys() {
        if ServerName::parse(name).is_err() {
            report(
                &["federation", "overrides", name],
                format!("`{name}` is no server name"),
            );
        }
    }
    if document.limits.max_body_bytes < SMALLEST_BODY_LIMIT {
        report(
            &["limits", "max_body_bytes"],
            format!("`max_body_bytes` must be at least {SMALLEST_BODY_LIMIT}, so that events fit"),
        );
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

fn listener_problems(source: &Source<'_>, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listeners = &document.listener;
    if !listeners
        .iter()
        .any(|listener| listener.serves.contains(&Serves::Client))
    {
        problems.push(
            source.problem(
                &["listener"],
                "no listener serves \"client\", so nobody could sign in: add \
             [[listener]] with an address and serves = [\"client\"]"
                    .to_owned(),
            ),
        );
    }
    for (index, listener) in listeners.iter().enumerate() {
        let number = index.to_string();
        let mut report = |key: &str, message: String| {
            problems.push(source.problem(&["listener", &number, key], message));
        };
        if listener.serves.is_empty() {
            report("serves", "a listener must serve something".to_owned());
        }
        let taken = |other: &ListenerOptions| other.address == listener.address;
        if !takes_any_port(listener.address) && listeners.iter().take(index).any(taken) {
            report(
                "address",
                format!("two listeners have the address {}", listener.address),
            );
        }
        let Some(tls) = &listener.tls else { continue };
        let own = own_certificate(document).unwrap_or_default();
        for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            if path.as_os_str().is_empty() {
                report("tls", format!("`{key}` is empty: name a PEM file"));
            } else if *path == own {
                // The server makes it.
            } else if let Err(message) = readable(path) {
                report("tls", message);
            }
        }
    }
    problems
}

/// The file of the certificate that the server makes or gets by itself, if it does.
fn own_certificate(document: &Document) -> Option<PathBuf> {
    let folder = document.data_dir.join(certificates::FOLDER);
    let is_own = !document.certificates.names.is_empty();
    is_own.then(|| folder.join(certificates::SERVER))
}

fn takes_any_port(address: SocketAddr) -> bool {
    address.port() == 0
}

/// Opens `file` and closes it again; the error is a sentence.
fn readable(file: &Path) -> Result<(), String> {
    match File::open(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "server_name = \"a.test\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n";

    fn problems(text: &str) -> Vec<String> {
        match Config::parse(Path::new("/etc/cairn/cairn.toml"), text) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_small_configuration_is_enough() {
        let config = Config::parse(Path::new("/etc/cairn/cairn.toml"), SMALL).unwrap();
        assert_eq!(config.server_name, "a.test");
        assert_eq!(config.data_dir, Path::new("/var/lib/cairn"));
        assert_eq!(config.rooms.default_version, "12");
        assert_eq!(config.listeners[0].serves, [Serves::Client]);
    }

    #[test]
    fn paths_start_at_the_files_folder() {
        let text = format!("data_dir = \"data\"\n{SMALL}");
        let config = Config::parse(Path::new("/srv/cairn.toml"), &text).unwrap();
        assert_eq!(config.data_dir, Path::new("/srv/data"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = format!("{SMALL}[registration]\nshared_secret = \"hush\"\n");
        let config = Config::parse(Path::new("cairn.toml"), &text).unwrap();
        assert_eq!(config.registration.shared_secret.reveal(), "hush");
        for shown in [
            toml::to_string(&config).unwrap(),
            serde_json::to_string(&config).unwrap(),
            format!("{config:?}"),
        ] {
            assert!(
                !shown.contains("hush") && shown.contains("(hidden)"),
                "{shown}"
            );
        }
    }

    #[test]
    fn credentials_that_are_not_there_are_named() {
        let text = format!("{SMALL}[registration]\nshared_secret = \"credential:mine\"\n");
        let config = Config::parse(Path::new("cairn.toml"), &text).unwrap();
        assert!(config.registration.shared_secret.is_empty());
        assert_eq!(config.absent_credentials(), ["mine"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let file = "/etc/cairn/cairn.toml";
        let too_big = "server_name = \"a b\"";
        for (text, expected) in [
            (
                format!("{SMALL}adress = \"127.0.0.1:1\"\n"),
                "4: unknown key `adress` in [[listener]]; the nearest known key is `address`",
            ),
            (
                format!("sever_name = \"b.test\"\n{SMALL}"),
                "1: unknown key `sever_name`; the nearest known key is `server_name`",
            ),
            (
                format!("{SMALL}[romms]\n"),
                "4: unknown key `romms`; the nearest known key is `rooms`",
            ),
            (
                format!("default_version = \"12\"\n{SMALL}"),
                "1: unknown key `default_version`; it belongs in [rooms]",
            ),
            (
                format!("{SMALL}tls = {{ cert = \"x\" }}\n"),
                "4: unknown key `cert` in [listener.tls]; the nearest known key is `key`",
            ),
            (
                format!("{SMALL}[rooms]\ndefault_version = \"13\"\n"),
                "5: rooms of version `13` cannot be created here; \
                 choose one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
            ),
            (
                SMALL.replace("\"a.test\"", "\"a b\""),
                "1: `a b` is no server name: write a domain such as council.example",
            ),
            (
                format!(
                    "{SMALL}tls = {{ certificate = \"/nowhere/a.pem\", key = \"/dev/null\" }}\n"
                ),
                "4: /nowhere/a.pem cannot be read: No such file or directory (os error 2)",
            ),
            (
                format!("{SMALL}[media]\nunauthenticated_until = \"tomorrow\"\n"),
                "5: `unauthenticated_until` is \"tomorrow\": write \"\", \"always\" or a day \
                 such as \"2026-12-31\"",
            ),
            (
                format!("{SMALL}[mail]\nrelay = \"mail.example\"\nsender = \"a@b.test\"\n"),
                "5: `relay` is a host and a port, such as mail.council.example:587",
            ),
            (
                format!("{SMALL}[registration]\nrequire_email = true\n"),
                "5: `require_email` needs a relay: name one in [mail]",
            ),
            (
                format!("{SMALL}[federation]\npinned_keys = {{ \"b.test\" = [\"x\"] }}\n"),
                "5: `x` is no key: write \"ed25519:<name> <key in base64>\"",
            ),
            (
                format!("{SMALL}[federation]\nkey_servers = [\"b.test\", \"b test\"]\n"),
                "5: `b test` is no server name",
            ),
            (
                format!("{SMALL}[well_known]\nserver = \"https://b.test\"\n"),
                "5: `https://b.test` is no server name, which has no https:// before it",
            ),
            (
                format!("{SMALL}[federation.overrides]\n\"b test\" = \"127.0.0.1:1\"\n"),
                "5: `b test` is no server name",
            ),
            (
                format!("{too_big}\n"),
                "1: `a b` is no server name: write a domain such as council.example",
            ),
        ] {
            assert_eq!(
                problems(&text).first(),
                Some(&format!("{file}:{expected}")),
                "{text}"
            );
        }
    }

    #[test]
    fn values_of_the_wrong_kind_are_named_with_their_line() {
        for (text, line, part) in [
            (format!("{SMALL}serves = [\"client\", \"tea\"]\n"), 4, "tea"),
            (
                format!("{SMALL}trusted_proxies = [\"10.0.0.0/99\"]\n"),
                4,
                "not a network",
            ),
            (
                SMALL.replace("127.0.0.1:0", "localhost:80"),
                3,
                "socket address",
            ),
            (
                format!("{SMALL}[limits]\nenabled = \"yes\"\n"),
                5,
                "boolean",
            ),
            (
                format!("{SMALL}[registration]\nmode = \"opne\"\n"),
                5,
                "`open`",
            ),
            (format!("{SMALL}[limits\n"), 4, ""),
        ] {
            let problems = problems(&text);
            let place = format!("/etc/cairn/cairn.toml:{line}: ");
            let fits = |problem: &String| problem.starts_with(&place) && problem.contains(part);
            assert!(
                problems.len() == 1 && problems.iter().all(fits),
                "{text}\n{problems:?}"
            );
        }
    }

    #[test]
    fn somebody_must_be_able_to_sign_in() {
        for text in [
            "server_name = \"a.test\"\n",
            "server_name = \"a.test\"\n[[listener]]\nserves = [\"metrics\"]\n",
        ] {
            let problems = problems(text);
            assert!(
                problems[0].contains("no listener serves \"client\""),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn a_missing_file_says_how_to_get_one() {
        let error = Config::load(Path::new("/nowhere/cairn.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/cairn.toml cannot be read: ")
        );
        assert!(error.to_string().contains("`cairn init`"));
    }
}
