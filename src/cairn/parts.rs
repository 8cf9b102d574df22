//! The parts of the house, built from the ones below them.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use accounts::{Accounts, ConsoleError, OptionsError, SealingKey};
use actions::Actions;
use graph::SigningKey;
use media::{Media, MediaParts};
use outgoing::{Outgoing, RootsError};
use peers::{Peers, PeersError, PeersParts};
use rooms::Rooms;
use runtime::{Clock, Metrics, Random, Stop, Tasks};
use store::{OpenError, Store, StoreOptions};

use crate::config::Config;

/// Why the parts cannot be built: one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The password options.
    #[error(transparent)]
    Accounts(#[from] OptionsError),
    /// The certificate authorities that the configuration names.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The folder for files.
    #[error(transparent)]
    Media(#[from] media::OpenError),
    /// What the configuration says of other servers.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The secrets of second factors.
    #[error("second factors cannot be sealed anew: {0}")]
    Factors(ConsoleError),
    /// The signing key's file cannot be read or written.
    #[error("the signing key {} cannot be used: {reason}", path.display())]
    KeyFile {
        /// The key's file.
        path: PathBuf,
        /// What the system or the reader says.
        reason: String,
    },
    /// There is a database, and no key.
    #[error(
        "the signing key {} is missing, though the data folder has a database: restore the file from a backup, other servers know this one by it",
        path.display()
    )]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
    },
}

/// What every verb that touches the data folder needs.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) rooms: Rooms,
    pub(crate) media: Media,
    pub(crate) outgoing: Outgoing,
    pub(crate) peers: Peers,
    pub(crate) actions: Actions,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Parts {
    /// Opens the data folder, which is made if it is not there, and builds the
    /// domain on it. Nobody else can open the folder meanwhile. `stop` ends what waits.
    ///
    /// # Errors
    /// [`PartsError`].
    pub(crate) fn open(config: &Config, metrics: &Metrics, stop: Stop) -> Result<Self, PartsError> {
        let clock = Clock::system();
        let random = Random::system();
        let key_path = config.data_dir.join("signing.key");
        // Before the database is there, or a crash in between would look like a loss.
        let key = Arc::new(signing_key(&config.data_dir, &key_path, &random)?);
        let name = &config.server_name;
        let options = StoreOptions {
            reserved_bytes: config.database.reserved_disk_bytes,
            metrics: metrics.clone(),
            ..StoreOptions::default()
        };
        let store = Store::open(&config.data_dir, name.as_str(), &options, &clock, &random)?;
        let accounts = Accounts::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            config.registration.clone(),
            config.accounts.clone(),
        )?;
        accounts.seal_with(sealing_key(&key));
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            key.clone(),
            config.rooms.clone(),
        );
        let media = Media::open(MediaParts {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            server_name: name.clone(),
            folder: config.data_dir.join("media"),
            options: config.media.clone(),
            metrics: metrics.clone(),
            stop,
        })?;
        let outgoing = Outgoing::new(&config.outgoing, metrics)?;
        let peers = Peers::new(PeersParts {
            store: store.clone(),
            outgoing: outgoing.clone(),
            clock: clock.clone(),
            random: random.clone(),
            server_name: name.clone(),
            key,
            options: config.federation.clone(),
        })?;
        let actions = Actions::new(
            accounts.clone(),
            rooms.clone(),
            media.clone(),
            peers.clone(),
            clock.clone(),
            random.clone(),
            metrics,
        );
        Ok(Self {
            store,
            accounts,
            rooms,
            media,
            outgoing,
            peers,
            actions,
            clock,
            random,
        })
    }
}

/// What second factors are sealed with: made of the server's own key, which is not in the
/// database.
fn sealing_key(key: &SigningKey) -> SealingKey {
    SealingKey::new(key.secret_for("second factors"))
}

/// Makes what root has written into a data folder that belongs to somebody else theirs, so
/// that the server, which does not run as root, can open it. People's files are left out: no
/// command writes any.
pub(crate) fn give_back(data_dir: &Path) {
    if let Err(error) = backup::give_to_owner(data_dir, Some("media")) {
        log::warn!("{error}");
    }
}

/// Reads the server's signing key; makes one for a folder that has no database yet.
fn signing_key(folder: &Path, path: &Path, random: &Random) -> Result<SigningKey, PartsError> {
    let failed = |reason: String| PartsError::KeyFile {
        path: path.to_owned(),
        reason,
    };
    match fs::read_to_string(path) {
        Ok(text) => SigningKey::parse(&text).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(error.to_string()))
        }
        Err(_) if folder.join("database").exists() => Err(PartsError::KeyMissing {
            path: path.to_owned(),
        }),
        Err(_) => {
            let key = new_key(random).map_err(|error| failed(error.to_string()))?;
            // Nothing of this name is there: if it cannot be written, nothing can.
            write_private(folder, path, &key.to_text()).map_err(|reason| OpenError::Folder {
                path: folder.to_owned(),
                reason,
            })?;
            Ok(key)
        }
    }
}

/// A signing key that there has never been before, nor its name.
pub(crate) fn new_key(random: &Random) -> Result<SigningKey, graph::Reason> {
    let letters = random.token();
    let letters = letters.chars().filter(char::is_ascii_alphanumeric);
    SigningKey::generate(random.bytes(), letters.take(6).collect())
}

/// Puts another signing key into the place of the one in use, for a server that is
/// stopped. Returns the ids of both, the old one first.
///
/// # Errors
/// [`PartsError`]; then the old key stays in use.
pub(crate) async fn rotate_key(config: &Config) -> Result<(String, String), PartsError> {
    // Held until the end: nobody else can open the folder meanwhile.
    let parts = Parts::open(config, &Metrics::new(), Tasks::new().stop())?;
    let path = config.data_dir.join("signing.key");
    let failed = |reason: String| PartsError::KeyFile {
        path: path.clone(),
        reason,
    };
    let old = signing_key(&config.data_dir, &path, &parts.random)?;
    let new = new_key(&parts.random).map_err(|error| failed(error.to_string()))?;
    // Until the new key is written the old one opens them still.
    parts
        .accounts
        .seal_also_with(sealing_key(&new))
        .await
        .map_err(PartsError::Factors)?;
    peers::rotate(&parts.store, &old, parts.clock.now())
        .await
        .map_err(PeersError::from)?;
    write_private(&config.data_dir, &path, &new.to_text())
        .map_err(|error| failed(error.to_string()))?;
    drop(parts);
    give_back(&config.data_dir);
    Ok((old.key_id().to_owned(), new.key_id().to_owned()))
}

/// Writes a file that only this system user may read, whole or not at all, and
/// waits until it is on disk.
pub(crate) fn write_private(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let unfinished = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}
