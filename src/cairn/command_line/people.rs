//! People: their accounts, and the invitations with which they come.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::Role;

use super::person::{PeopleVerb, UserDeactivate};

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
    /// Remove the second factor of a user who has lost it; the console asks for a new one.
    ResetSecondFactor {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Make an access token, shown once, with which a program administers as a user.
    Token {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// What the program is called: synadm, for instance.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// For how many days it is.
        #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
        #[command(flatten)]
        why: Why,
    },
    /// Close a user's account for ever; the rooms that the user alone ran are handed over.
    Deactivate(UserDeactivate),
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
        /// What the user is told beside that the account is locked.
        #[arg(long, value_name = "TEXT")]
        tell: Option<String>,
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
        /// What the user is told beside that the account is suspended.
        #[arg(long, value_name = "TEXT")]
        tell: Option<String>,
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
    #[command(flatten)]
    People(PeopleVerb),
}

/// Why something is done to a person.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why, for the audit trail; asked for on a terminal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
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

fn parse_role(text: &str) -> Result<Role, String> {
    let names = || Role::ALL.map(Role::name).join(", ");
    Role::from_name(text).ok_or_else(|| format!("the roles are {}", names()))
}
