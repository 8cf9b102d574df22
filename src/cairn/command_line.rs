//! The command line: which verbs there are, what each takes, and how each ends.
//!
//! Every verb takes `--config FILE` and `--json` and exits with 0 (done), 1
//! (failed) or 2 (wrong usage). What a verb has to say goes to standard output,
//! failures go to standard error; with `--json` both go to standard output.

mod federation;
mod media;
mod people;
mod person;
mod records;
mod setup;
mod upkeep;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub(crate) use self::{
    federation::{FederationVerb, PeersVerb},
    media::{MediaVerb, WhichFiles},
    people::{InviteCreate, InviteVerb, UserVerb, Why},
    person::{
        DepartmentVerb, PartnerVerb, PeopleVerb, UserDeactivate, UserExpire, UserImport, UserLimit,
    },
    records::{AuditShow, AuditVerb, AuditVerify, RegisterVerb},
    setup::{ConfigVerb, Init, TlsKind},
    upkeep::{BackupSource, BackupVerb, DatabaseVerb, Doctor, SecretKey},
};
use crate::verbs::{self, Answer, Failure};

/// Cairn, a Matrix homeserver in one binary.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, disable_help_subcommand = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/cairn/cairn.toml"
    )]
    pub(crate) config: PathBuf,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server until SIGTERM or Ctrl-C; SIGHUP re-reads configuration and certificates.
    Serve,
    /// Write a configuration, the server's keys and its data folder.
    Init(Init),
    /// Check and show the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Manage this server's users.
    #[command(subcommand)]
    User(UserVerb),
    /// Manage the invitations with which people register.
    #[command(subcommand)]
    Invite(InviteVerb),
    /// Look at the audit trail: who did what, on whom, when and why.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Ask the register of groups: who was in which room, and when.
    #[command(subcommand)]
    Register(RegisterVerb),
    /// Let people from outside in, here and there.
    #[command(subcommand)]
    Partner(PartnerVerb),
    /// Put people into rooms by the department that they belong to.
    #[command(subcommand)]
    Department(DepartmentVerb),
    /// List what people have reported to the administrators, the newest first.
    Reports,
    /// Look at files, delete them, or put them where nobody can fetch them.
    #[command(subcommand)]
    Media(MediaVerb),
    /// Look at the database, or compact it.
    #[command(subcommand)]
    Database(DatabaseVerb),
    /// Find out what is wrong with this server, and what to do about it; each check is one line.
    Doctor(Doctor),
    /// Make, check and restore backups of everything.
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Look at conversations with other servers.
    #[command(subcommand)]
    Federation(FederationVerb),
    /// Show which version this is.
    Version,
    /// Write man pages and completions for shells into a folder: for whoever makes packages.
    #[command(hide = true)]
    Pages {
        /// The folder.
        to: PathBuf,
    },
}

/// Does what the command line says and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // A closed terminal cannot be told anything, but the exit code still counts.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let json = command_line.common.json;
    match verbs::run(command_line) {
        Ok(answer) => {
            print_answer(&answer, json);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print_failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

fn print_answer(answer: &Answer, json: bool) {
    let text = if json {
        answer.json.to_string()
    } else {
        answer.text.clone()
    };
    if !text.is_empty() {
        print_line(&mut std::io::stdout(), &text);
    }
}

fn print_failure(failure: &Failure, json: bool) {
    if json {
        print_line(&mut std::io::stdout(), &failure.json().to_string());
    } else {
        let line = match failure {
            Failure::Found { text, .. } => text.clone(),
            failure => format!("cairn: {failure}"),
        };
        print_line(&mut std::io::stderr(), &line);
    }
}

/// Prints `text` with one line break at its end. Unlike `println!` it does not
/// panic when the reader has gone (`cairn config example | head -1`).
fn print_line(output: &mut dyn std::io::Write, text: &str) {
    let _ = writeln!(output, "{}", text.trim_end_matches('\n'));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn common_options_stand_at_the_end() {
        let line = CommandLine::try_parse_from([
            "cairn", "invite", "create", "--config", "a.toml", "--json",
        ])
        .unwrap();
        assert!(line.common.json);
        assert_eq!(line.common.config, PathBuf::from("a.toml"));
        assert!(matches!(
            line.verb,
            Verb::Invite(InviteVerb::Create(InviteCreate { uses: 1, .. }))
        ));
    }

    #[test]
    fn wrong_usage_is_told_from_a_request_for_help() {
        for (words, wrong) in [
            (&["cairn"][..], true),
            (&["cairn", "fly"], true),
            (&["cairn", "user", "create"], true),
            (&["cairn", "invite", "create", "--count", "0"], true),
            (&["cairn", "invite", "create", "--count", "501"], true),
            (&["cairn", "backup", "create"], true),
            (&["cairn", "backup", "create", "x", "--keep", "0"], true),
            (&["cairn", "--help"], false),
            (&["cairn", "config", "--help"], false),
        ] {
            let error = CommandLine::try_parse_from(words).unwrap_err();
            assert_eq!(error.use_stderr(), wrong, "{words:?}");
        }
    }
}
