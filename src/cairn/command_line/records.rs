//! What was written down: the audit trail, and the register of groups.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runtime::Timestamp;

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

fn parse_time(text: &str) -> Result<u64, String> {
    Timestamp::parse(text)
        .map(|time| time.0)
        .ok_or_else(|| "write 2026-03-03, 2026-03-03T14:05 or 2026-03-03T14:05:06 (UTC)".to_owned())
}
