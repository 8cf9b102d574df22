//! The verbs of the command line, one file each.

mod administer;
mod audit;
mod backup;
mod config;
mod doctor;
mod federation;
mod import;
mod init;
mod invite;
mod mend;
mod pages;
mod peers;
mod people;
mod register;
mod restore;
mod serve;
mod version;

use serde_json::{Value, json};

use crate::{
    command_line::{CommandLine, Verb},
    config::ConfigError,
};

/// What a verb has to say when it is done.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For people; nothing is printed if it is empty.
    pub(crate) text: String,
    /// The same for programs.
    pub(crate) json: Value,
}

/// Why a verb failed: one clear sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something is wrong, and all that was looked at is told.
    #[error("{text}")]
    Found {
        /// For people.
        text: String,
        /// The same for programs.
        json: Value,
    },
    /// Anything else, in a sentence for the person at the terminal.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The failure for programs: `error`, and each mistake if the configuration
    /// has some.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Config(error) => {
                json!({ "error": error.to_string(), "problems": error.problems() })
            }
            Self::Found { json, .. } => json.clone(),
            Self::Other(message) => json!({ "error": message }),
        }
    }
}

/// Does what the command line says.
pub(crate) fn run(command_line: CommandLine) -> Result<Answer, Failure> {
    let common = command_line.common;
    match command_line.verb {
        Verb::Config(verb) => config::run(&verb, &common),
        Verb::Version => Ok(version::run()),
        Verb::Pages { to } => pages::run(&to),
        Verb::Serve => serve::run(&common),
        Verb::Init(init) => init::run(init, &common),
        Verb::User(verb) => administer::user(verb, &common),
        Verb::Invite(verb) => invite::run(verb, &common),
        Verb::Audit(verb) => audit::run(verb, &common),
        Verb::Register(verb) => register::run(verb, &common),
        Verb::Partner(verb) => people::partner(verb, &common),
        Verb::Department(verb) => people::department(verb, &common),
        Verb::Reports => administer::reports(&common),
        Verb::Media(verb) => administer::media(verb, &common),
        Verb::Database(verb) => administer::database(verb, &common),
        Verb::Doctor(doctor) => doctor::run(&doctor, &common),
        Verb::Backup(verb) => backup::run(verb, &common),
        Verb::Federation(verb) => federation::run(verb, &common),
    }
}
