//! What keeps a server well: its database, the doctor, backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
