//! The command line: which verbs there are, what each takes, and how each ends.
//!
//! Every verb takes `--config FILE` and `--json` and exits with 0 (done), 1
//! (failed) or 2 (wrong usage). What a verb has to say goes to standard output,
//! failures go to standard error; with `--json` both go to standard output.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use model::Role;
use runtime::Timestamp;

use crate::verbs::{self, Answer, Failure, moderation::ModerationVerb, room::RoomVerb};

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
    /// Manage rooms: close, delete, shorten, mark, hand over.
    #[command(subcommand)]
    Room(RoomVerb),
    /// Redact what somebody has said, and choose ban lists.
    #[command(subcommand)]
    Moderation(ModerationVerb),
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

/// What a new server is. Whatever is left out is asked for on a terminal.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The name behind the colon of every user's id, for ever: a domain such as council.example.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Where the server keeps everything; relative to the configuration file's folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address to listen on for clients, for instance 127.0.0.1:8008.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Create this user as the first administrator; the generated password is shown once.
    #[arg(long, value_name = "USER")]
    pub(crate) administrator: Option<String>,
    /// How apps get an encrypted connection; by a reverse proxy, if left out.
    #[arg(long, value_enum)]
    pub(crate) tls: Option<TlsKind>,
    /// With `--tls files`: the PEM file of the certificate and those that lead to its root.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// With `--tls files`: the PEM file of the certificate's key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A name or address by which apps reach the server, the one for people first; the server's name, if left out. May be repeated.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// With `--tls acme`: the e-mail address that the authority writes to.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
}

/// How apps get an encrypted connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TlsKind {
    /// A reverse proxy in front of it has the certificate.
    Proxy,
    /// With a certificate from files.
    Files,
    /// With an authority that the server makes, for places without internet: its root is installed on each device.
    Local,
    /// With an authority on the internet (Let's Encrypt), which must reach port 443.
    Acme,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Say whether the configuration can be used, and name every mistake in it.
    Check,
    /// Print an example with every option, its meaning and its default.
    Example,
    /// Print the configuration in effect, defaults included, secrets hidden.
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Create a user; the generated password is shown once.
    Create {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Make the user an administrator.
        #[arg(long)]
        administrator: bool,
        /// Read the password from standard input instead of generating one.
        #[arg(long)]
        password_from_stdin: bool,
        #[command(flatten)]
        why: Why,
    },
    /// List the users.
    List,
    /// Show one user.
    Show {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
    },
    /// Give a user a new password, shown once, and sign out all devices.
    ResetPassword {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Read the password from standard input instead of generating one.
        #[arg(long)]
        password_from_stdin: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Close a user's account for ever.
    Deactivate {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Also hide what the user has written from everybody who joins later.
        #[arg(long)]
        erase: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Give a user a role on the server.
    Promote {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// The role: administrator (everything), moderator (rooms, reports, media), helpdesk (people and devices), auditor (reads who and when, changes nothing).
        #[arg(long, default_value = "administrator", value_parser = parse_role)]
        role: Role,
        #[command(flatten)]
        why: Why,
    },
    /// Lock a user out until the account is unlocked; nothing is lost.
    Lock {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let a locked user in again.
    Unlock {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let a user read and say nothing until the suspension ends.
    Suspend {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// End a user's suspension.
    Unsuspend {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take a user's roles away.
    Demote {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Only this role.
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        #[command(flatten)]
        why: Why,
    },
}

/// Why something is done to a person.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why, for the audit trail; asked for on a terminal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Show who did what, on whom and why; the newest first.
    Show(AuditShow),
    /// Go through the whole trail and name the first entry that is not what was written.
    Verify(AuditVerify),
    /// Write the trail to a new file, signed with the server's key.
    Export {
        /// The new file; `-` writes to standard output.
        to: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegisterVerb {
    /// Show who was in a room, with which power, invited by whom and from which organisation.
    Room {
        /// The room's id, or an alias of it.
        room: String,
        /// When (UTC): 2026-03-03 or 2026-03-03T14:05; now, if left out.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        at: Option<u64>,
        /// Print a table for spreadsheets.
        #[arg(long)]
        csv: bool,
    },
    /// Show in which rooms somebody was, and when.
    Person {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Print a table for spreadsheets.
        #[arg(long)]
        csv: bool,
    },
}

/// Which entries of the audit trail.
#[derive(Debug, Args)]
pub(crate) struct AuditShow {
    /// By this user; or `operator`, `server` or `nobody`.
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    /// On this user, file or server.
    #[arg(long, value_name = "NAME")]
    pub(crate) on: Option<String>,
    /// In this room.
    #[arg(long, value_name = "ROOM_ID")]
    pub(crate) room: Option<String>,
    /// Of this kind: person.lock, or person for all that is done to people.
    #[arg(long, value_name = "VERB")]
    pub(crate) verb: Option<String>,
    /// From this time on (UTC): 2026-03-03 or 2026-03-03T14:05.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<u64>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<u64>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only entries below this number, to go on where an earlier answer ended.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
}

/// What is verified.
#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// The number of an entry whose hash was noted elsewhere.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "hash",
        conflicts_with = "file"
    )]
    pub(crate) entry: Option<u64>,
    /// The hash that was noted.
    #[arg(long, value_name = "SHA256", requires = "entry")]
    pub(crate) hash: Option<String>,
    /// A file that `cairn audit export` wrote, instead of the trail itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The public key of the server that wrote it, if it is another one.
    #[arg(long, value_name = "KEY", requires = "file")]
    pub(crate) key: Option<String>,
}

fn parse_role(text: &str) -> Result<Role, String> {
    let names = || Role::ALL.map(Role::name).join(", ");
    Role::from_name(text).ok_or_else(|| format!("the roles are {}", names()))
}

pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    Timestamp::parse(text)
        .map(|time| time.0)
        .ok_or_else(|| "write 2026-03-03, 2026-03-03T14:05 or 2026-03-03T14:05:06 (UTC)".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteVerb {
    /// Create an invitation: a link with its QR code, shown once.
    Create(InviteCreate),
    /// List the invitations that can still be used.
    List,
    /// End an invitation.
    Revoke {
        /// The invitation's token.
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MediaVerb {
    /// List files with their size, type, uploader and hash.
    List {
        #[command(flatten)]
        which: WhichFiles,
    },
    /// Show what is known of one file.
    Show {
        /// Its address: mxc://council.example/abc.
        uri: String,
    },
    /// Delete files for ever; those of other servers until somebody asks for them again.
    Delete {
        #[command(flatten)]
        which: WhichFiles,
    },
    /// Let nobody fetch files, nor others with the same bytes, now or later; nothing is deleted.
    Quarantine {
        #[command(flatten)]
        which: WhichFiles,
    },
    /// Let files be fetched again.
    Unquarantine {
        #[command(flatten)]
        which: WhichFiles,
    },
}

/// Which files a verb is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichFiles {
    /// One file, by its address: mxc://council.example/abc.
    pub(crate) file: Option<String>,
    /// Those that this user has uploaded.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Those that the events of this room name, and those that were uploaded for it.
    #[arg(long, value_name = "ROOM_ID")]
    pub(crate) room: Option<String>,
    /// Those with these bytes: their SHA-256, 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256")]
    pub(crate) hash: Option<String>,
    /// Those of this server that were uploaded before this time (UTC): 2026-03-03.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) before: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseVerb {
    /// Show how many events there are, how long they are, and what the database takes on disk.
    Show,
    /// Write the database's files anew without what was deleted or replaced; a running server goes on meanwhile.
    Compact,
    /// Go on without commits that the damaged log of the database has lost; the server must be stopped.
    AcceptLoss,
    /// Go back to the database of before an upgrade, without what came after; the server must be stopped.
    GoBack,
}

/// What is looked at besides this server itself.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Also whether this other server is reached.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// The folder of backups.
    #[arg(long, value_name = "FOLDER", default_value = "/var/backups/cairn")]
    pub(crate) backups: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupVerb {
    /// Copy database, files, key and configuration into a folder; a running server goes on meanwhile.
    Create {
        /// The folder; what an earlier backup there has is not copied again. `-` writes a tar archive to standard output.
        to: String,
        /// Then remove all backups there but so many, the newest.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        keep: Option<u32>,
        /// Seal it for the holder of the secret key of this public key of age (age1…), whom it
        /// takes to look into it; each folder has one kind of backups.
        #[arg(long, value_name = "PUBLIC_KEY")]
        seal_to: Option<String>,
    },
    /// List the backups in a folder.
    List {
        /// The folder.
        from: PathBuf,
        #[command(flatten)]
        key: SecretKey,
    },
    /// Compare every byte with what was written, and try to open the database.
    Verify(BackupSource),
    /// Make a data folder from a backup; the server must be stopped.
    Restore {
        #[command(flatten)]
        source: BackupSource,
        /// The data folder, empty or not there; the configuration's, if left out.
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
    },
    /// Put single files back that are damaged on this server's disk, without losing what came after; the server must be stopped.
    Mend {
        /// The folder of backups.
        from: PathBuf,
        #[command(flatten)]
        key: SecretKey,
    },
}

/// What opens sealed backups.
#[derive(Debug, Args)]
pub(crate) struct SecretKey {
    /// The file with the secret key of age that opens sealed backups.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}

/// Which backup.
#[derive(Debug, Args)]
pub(crate) struct BackupSource {
    /// A folder of backups, a tar archive, or `-` for one on standard input.
    pub(crate) from: PathBuf,
    /// Which of those in the folder, as `cairn backup list` names them; the newest, if left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) key: SecretKey,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FederationVerb {
    /// Show this server's key, which other servers do not answer, and what waits for them.
    Status,
    /// Try to reach a server: its place, connection, certificate, clock and keys, step by step.
    Check {
        /// The server's name, the part behind the colon of its users' ids.
        server: String,
    },
    /// Try a server now that is left alone because it did not answer.
    Retry {
        /// The server's name.
        server: String,
    },
    /// Forget what waits for a server, such as one that is gone for ever.
    Forget {
        /// The server's name.
        server: String,
    },
    /// Sign with a new key from the next start on; the server must be stopped. The old key stays published.
    RotateKey,
    /// Signed lists of the servers of a closed federation.
    #[command(subcommand)]
    Peers(PeersVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeersVerb {
    /// Put a list in force that the authority of `federation.peer_list_key` has signed.
    Import {
        /// The list's file.
        list: PathBuf,
    },
    /// Write the list in force to a new file, to hand it on.
    Export {
        /// The new file.
        to: PathBuf,
    },
    /// Say whether a list is signed by its authority, and what is in it.
    Verify {
        /// The list's file.
        list: PathBuf,
        /// The authority's public key, if it is not the one of the configuration.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// For an authority: sign a list that was written by hand.
    Sign {
        /// The file with the servers, in TOML.
        draft: PathBuf,
        /// The new file for the signed list.
        to: PathBuf,
        /// The file with the authority's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// For how many days it is valid.
        #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// For an authority: make the key that signs lists.
    NewKey {
        /// The new file for the key.
        to: PathBuf,
    },
}

/// What an invitation is to be.
#[derive(Debug, Args)]
pub(crate) struct InviteCreate {
    /// How many people may register with it.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) uses: u32,
    /// After how many days it ends; never, if left out.
    #[arg(long, value_name = "DAYS")]
    pub(crate) expires_after_days: Option<u32>,
    /// How many such invitations; at most 500.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) count: Option<u32>,
    /// Write them to this new file instead, for printing: HTML, one sheet for each.
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
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
