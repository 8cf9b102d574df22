//! The verbs about people beyond their accounts: `cairn user import`, `cairn user expire`,
//! `cairn partner`, `cairn department`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Why;

/// What besides is done with people, under `cairn user`.
#[derive(Debug, Subcommand)]
pub(crate) enum PeopleVerb {
    /// Create and change many people from a table (CSV); who is new gets an invitation, never a password.
    Import(UserImport),
    /// Say when a user's account ends, or that it has no end.
    Expire(UserExpire),
    /// Put the end of a user's account off, by as long as new accounts are valid.
    Renew {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give a user limits of their own, or take them away.
    Limit(UserLimit),
    /// Show the rooms that a user runs alone, and who would run them if the account were closed.
    Handover {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Who is to run them all, instead of the most senior member of each.
        #[arg(long, value_name = "USER")]
        to: Option<String>,
    },
}

/// A table of people and what becomes of it.
#[derive(Debug, Args)]
#[command(
    after_help = "The first line names the columns, in any order: localpart (needed), display_name, email, departments (with | between them), kind (member or partner), organisation, expires (the last day: 2027-03-31), language. UTF-8; comma, semicolon or tabulator between the columns. An empty cell leaves what is there, - takes it away. The same table twice changes nothing the second time, so what broke off is begun anew."
)]
pub(crate) struct UserImport {
    /// The file; `-` reads standard input.
    pub(crate) file: PathBuf,
    /// Say what would be done, line by line, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Pass bad lines over instead of doing nothing at all.
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Send invitations by e-mail to those who have an address; the running server sends them.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) mail: bool,
    /// Write the other invitations onto printed sheets, one for each person, in this new HTML file.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) sheet: Option<PathBuf>,
    /// Write the other invitations as a table of names and links into this new CSV file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "sheet"])]
    pub(crate) links: Option<PathBuf>,
    /// After how many days the invitations end.
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) expires_after_days: u32,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// When an account ends.
#[derive(Debug, Args)]
pub(crate) struct UserExpire {
    /// The name before the colon of the user's id, or the whole id.
    pub(crate) user: String,
    /// The last day (2027-03-31), or a moment of UTC (2027-03-31T12:00).
    #[arg(long, value_name = "DAY", required_unless_present = "never", value_parser = parse_end)]
    pub(crate) at: Option<u64>,
    /// The account has no end.
    #[arg(long, conflicts_with = "at")]
    pub(crate) never: bool,
    /// The user may put the end off, by the link that comes with the notice of it.
    #[arg(long, conflicts_with = "never")]
    pub(crate) renewable: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

fn parse_end(text: &str) -> Result<u64, String> {
    actions::last_day(text).ok_or_else(|| "write 2027-03-31 or 2027-03-31T12:00 (UTC)".to_owned())
}

/// Which limits.
#[derive(Debug, Args)]
pub(crate) struct UserLimit {
    /// The name before the colon of the user's id, or the whole id.
    pub(crate) user: String,
    /// Take all limits of their own away first.
    #[arg(long)]
    pub(crate) reset: bool,
    /// Requests in each second; 0: no limit.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) requests_per_second: Option<u64>,
    /// Requests at once.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) burst: Option<u64>,
    /// Bytes of files.
    #[arg(long, value_name = "BYTES")]
    pub(crate) media_bytes: Option<u64>,
    /// Devices that are signed in.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) devices: Option<u32>,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// How an account is closed.
#[derive(Debug, Args)]
pub(crate) struct UserDeactivate {
    /// The name before the colon of the user's id, or the whole id.
    pub(crate) user: String,
    /// Also hide what the user has written from everybody who joins later.
    #[arg(long)]
    pub(crate) erase: bool,
    /// Hand the rooms that the user alone ran over to this user, instead of the most senior member of each.
    #[arg(long, value_name = "USER")]
    pub(crate) to: Option<String>,
    /// Hand no room over.
    #[arg(long, conflicts_with = "to")]
    pub(crate) no_handover: bool,
    /// Only show those rooms and who would run them.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// `cairn partner`.
#[derive(Debug, Subcommand)]
pub(crate) enum PartnerVerb {
    /// Make a user a partner: somebody from outside, who sees no directory, makes no rooms, and comes only into rooms that were opened to partners.
    Add {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// For whom they work, as lists and the register show it.
        #[arg(long, value_name = "NAME")]
        organisation: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Make a partner a member like everybody else.
    Remove {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let partners be invited into a room and join it.
    Open {
        /// The room's id, or an alias of it.
        room: String,
    },
    /// Let no more partners into a room; those who are in it stay.
    Close {
        /// The room's id, or an alias of it.
        room: String,
    },
    /// List the rooms that are open to partners.
    Rooms,
}

/// `cairn department`.
#[derive(Debug, Subcommand)]
pub(crate) enum DepartmentVerb {
    /// Make a department: a name under which people are put into rooms.
    Create {
        /// Its name.
        name: String,
    },
    /// End a department; its people stay in its rooms.
    Delete {
        /// Its name.
        name: String,
    },
    /// List the departments.
    List,
    /// Show a department: its rooms, its people, and who could not be brought in so far.
    Show {
        /// Its name.
        name: String,
    },
    /// Give a department a room or a space; its people come in.
    AddRoom {
        /// Its name.
        name: String,
        /// The room's id, or an alias of it.
        room: String,
    },
    /// Take a room from a department; those go who belong there for no other department.
    RemoveRoom {
        /// Its name.
        name: String,
        /// The room's id, or an alias of it.
        room: String,
    },
    /// Put somebody into a department.
    Add {
        /// Its name.
        name: String,
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take somebody out of a department.
    Remove {
        /// Its name.
        name: String,
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
}
