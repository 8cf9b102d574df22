//! What an administrator may choose about accounts.

use std::collections::BTreeMap;

use runtime::Secret;
use serde::{Deserialize, Serialize};

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Whoever has an invitation token.
    Invite,
    /// Anybody, with `m.login.dummy` alone.
    Open,
    /// Nobody.
    Closed,
}

runtime::options! {
    /// Who may create an account.
    pub struct RegistrationOptions in "registration" {
        /// "invite": whoever has an invitation token (`cairn invite create`); "open": anybody,
        /// at once; "closed": nobody.
        pub mode: RegistrationMode = RegistrationMode::Invite,
        /// The secret with which programs register users at /_synapse/admin/v1/register.
        /// Empty: nobody can.
        pub shared_secret: Secret = Secret::default(),
        /// Whether guests may come, without a name or a password, to read and speak in rooms
        /// that let guests in.
        pub guests: bool = false,
        /// Whether newcomers must confirm an e-mail address, for which [mail] names a relay.
        /// Otherwise they may. Who joins on an invitation's page is not asked.
        pub require_email: bool = false,
        /// What newcomers must accept: the addresses of your policies by their names,
        /// { privacy_policy = "https://example.com/privacy" } for instance.
        pub policies: BTreeMap<String, String> = BTreeMap::new(),
        /// The version of these policies.
        pub policies_version: String = "1".to_owned(),
    }
}

/// Whom a search of the user directory finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserDirectory {
    /// Everybody with an account on this server.
    Everyone,
    /// Of those, who shares a room with the searcher or is in a room that is open to all.
    SharedRooms,
}

runtime::options! {
    /// Passwords, sessions, and who finds whom.
    pub struct AccountsOptions in "accounts" {
        /// The fewest characters of a new password.
        pub password_min_length: usize = 8,
        /// The memory that hashing one password takes (argon2id), in KiB.
        pub password_hash_memory: u32 = 19_456,
        /// How often that memory is gone through.
        pub password_hash_passes: u32 = 2,
        /// How many passwords are hashed at the same time.
        pub password_hash_lanes: usize = 2,
        /// How long an access token works if the client can refresh it, in seconds. Tokens of
        /// clients that cannot have no end.
        pub access_token_lifetime: u64 = 3_600,
        /// Whether all who have a role on the server administer only with sessions that a second
        /// factor has raised: in the console, and with tokens that it makes for programs.
        /// Otherwise this holds for those who have set a second factor up. The console asks
        /// everybody for one.
        pub second_factor_for_roles: bool = false,
        /// After how many minutes without use a session in the console ends.
        pub console_idle_minutes: u64 = 15,
        /// After how many hours a session in the console ends, however much it is used.
        pub console_session_hours: u64 = 8,
        /// Whom people find when they look for others by name. "everyone": all who have an
        /// account on this server; "shared_rooms": those of them who share a room with the
        /// searcher, or are in a room that anybody may join or read.
        pub user_directory: UserDirectory = UserDirectory::Everyone,
        /// After how many days an account ends that nobody renews; 0: never. It holds for
        /// accounts that are made from then on, but for those of administrators and other roles.
        pub validity_days: u64 = 0,
        /// How many days before that its person is told, by a notice of the server and by
        /// e-mail, with a link to renew it.
        pub validity_notice_days: u64 = 14,
        /// Whether people are notified of what is said in a thread only if they follow it or are
        /// mentioned. For rooms whose members all use clients that can follow threads: with
        /// others, threads become silent.
        pub thread_subscriptions: bool = false,
    }
}

/// Options that ask for what cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The hash function does not take these values.
    #[error(
        "password_hash_memory and password_hash_passes: argon2id does not take these values ({0})"
    )]
    Hashing(String),
}
