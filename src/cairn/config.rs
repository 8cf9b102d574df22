//! The configuration: one TOML file, composed from each crate's options, checked
//! as a whole before anything starts.
//!
//! Every mistake names the file and the line; an unknown key is a mistake and
//! names the nearest known one.

mod address;
mod checks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod options;
mod registrations;
mod sections;
mod source;

use std::path::{Path, PathBuf};

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
use rooms::RoomsOptions;
use ruma_common::{OwnedServerName, ServerName};
use serde::Serialize;
use services::Registration;
use store::DatabaseOptions;
use web::LimitsOptions;

pub(crate) use self::sections::example;
#[cfg(test)]
pub(crate) use self::sections::section_names;
use self::{
    options::{ListenerOptions, LogOptions},
    source::{Problem, Source},
};

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
        /// The console at /console/.
        console: ConsoleOptions = ConsoleOptions::default(),
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
    /// The console at /console/.
    pub(crate) console: ConsoleOptions,
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

        let mut problems = checks::problems_of(&source, &document);
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
            console: document.console,
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
        .chain([
            &mut document.mail.password_file,
            &mut document.console.backups,
        ])
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

#[cfg(test)]
mod tests;
