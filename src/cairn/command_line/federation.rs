//! Other servers.

use std::path::PathBuf;

use clap::Subcommand;

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
    /// Speak to a server no more, at once and until it is unblocked; what waits for it is forgotten.
    Block {
        /// The server's name.
        server: String,
        /// Why, for the audit trail and for who looks at it later.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Speak to a server again that was blocked.
    Unblock {
        /// The server's name.
        server: String,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
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
