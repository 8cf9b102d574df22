//! Files that people have uploaded.

use clap::{Args, Subcommand};

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
}
