//! `cairn backup verify` and `restore`.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use actions::Forgotten;
use backup::{KEY, Layout, Manifest, Opened, Progress as _, Repository, Unpacked};
use graph::SigningKey;
use model::UserSerial;
use runtime::{Clock, Random};
use serde_json::json;
use store::{OpenError, Position, Store, StoreOptions};

use super::{
    Answer, Failure,
    backup::{CONFIGURATION_FILE, failed, identity, temporary_folder},
    serve,
};
use crate::{
    command_line::{BackupSource, Common},
    config::Config,
    parts::{give_back, write_private},
    progress::{Teller, duration, size},
};

/// Accounts that are counted at once.
const PAGE: usize = 500;

/// Reads every byte of a backup, lays its database out in a scratch folder, reads every row
/// there, and starts a server on it.
pub(super) fn verify(source: &BackupSource, common: &Common) -> Result<Answer, Failure> {
    let mut teller = Teller::new(common.json);
    let mut origin = Origin::open(source)?;
    let scratch = Scratch::beside(&origin)?;
    let layout = Layout {
        into: scratch.0.join("data"),
        with_media: false,
        may_link: true,
    };
    let unpacked = origin.unpack(&layout, &mut teller)?;
    let rehearsed = rehearse(&layout.into, &unpacked, &mut teller)?;
    drop(teller);
    drop(scratch);
    let manifest = &unpacked.manifest;
    let mut problems = unpacked.damaged.clone();
    problems.extend(rehearsed.missing.iter().map(|name| {
        format!("{name} is missing: the database names it, but it was not on the server's disk")
    }));
    let about = &manifest.about;
    if !problems.is_empty() {
        return Err(Failure::Other(format!(
            "the backup opens, but {} of its files are lost:\n{}",
            problems.len(),
            problems.join("\n")
        )));
    }
    Ok(Answer {
        text: format!(
            "The backup of {} from {} is whole: {} files, {}. A server starts on it: {} accounts, {} events, {} rows; it signs with {}",
            about.server_name,
            about.made_at,
            manifest.files.len(),
            size(manifest.bytes()),
            rehearsed.accounts,
            rehearsed.events,
            rehearsed.rows,
            rehearsed.key_id,
        ),
        json: json!({
            "whole": true, "server_name": about.server_name, "made_at": about.made_at,
            "files": manifest.files.len(), "bytes": manifest.bytes(), "position": about.position,
            "accounts": rehearsed.accounts, "events": rehearsed.events, "rows": rehearsed.rows,
        }),
    })
}

/// Makes a data folder from a backup.
pub(super) fn restore(
    source: &BackupSource,
    into: Option<PathBuf>,
    common: &Common,
) -> Result<Answer, Failure> {
    let existing = match common.config.exists() {
        true => Some(Config::load(&common.config)?),
        false => None,
    };
    let from_configuration = || existing.as_ref().map(|config| config.data_dir.clone());
    let into = into
        .or_else(from_configuration)
        .unwrap_or_else(|| PathBuf::from("/var/lib/cairn"));
    let mut teller = Teller::new(common.json);
    let layout = Layout {
        into: into.clone(),
        with_media: true,
        may_link: false,
    };
    let unpacked = Origin::open(source)?.unpack(&layout, &mut teller)?;
    let about = &unpacked.manifest.about;
    if let Some(config) = &existing
        && config.server_name != about.server_name
    {
        return Err(failed(format!(
            "the backup is of {}, but {} says server_name = \"{}\": the restored folder was left without a key and cannot be used",
            about.server_name,
            common.config.display(),
            config.server_name
        )));
    }
    teller.begin("new life");
    let (position, forgotten) = begin_again(&into, &about.server_name)?;
    backup::sync_all(&into).map_err(failed)?;
    // Last of all: without it no server starts on the folder.
    let key = String::from_utf8_lossy(&unpacked.key);
    write_private(&into, &into.join(KEY), &key)
        .map_err(|error| failed(format!("the signing key cannot be written: {error}")))?;
    let written = match &existing {
        Some(_) => None,
        None => write_configuration(&into, &common.config),
    };
    backup::give_to_owner(&into, None).map_err(failed)?;
    drop(teller);
    Ok(told(&unpacked, &into, position, forgotten, written))
}

fn told(
    unpacked: &Unpacked,
    into: &Path,
    position: Position,
    forgotten: Forgotten,
    written: Option<PathBuf>,
) -> Answer {
    let (manifest, about) = (&unpacked.manifest, &unpacked.manifest.about);
    let age = Clock::system().now().since(about.made_at).as_secs();
    let mut text = format!(
        "Restored {} as it was at {} into {}: {} files, {}\n\
         Lost is what happened after that, in the last {}: messages, accounts, devices, keys and files.\n\
         Devices sync anew; those that signed in after that must sign in again.\n\
         Dropped, as they may have been given out since: {} one-time keys (devices upload new ones), {} waiting notifications.",
        about.server_name,
        about.made_at,
        into.display(),
        manifest.files.len(),
        size(manifest.bytes()),
        duration(age),
        forgotten.one_time_keys,
        forgotten.notifications,
    );
    for damaged in &unpacked.damaged {
        text += &format!("\nDAMAGED and left out: {damaged}");
    }
    match &written {
        Some(file) => text += &format!("\nWrote {}: check it", file.display()),
        None => {
            text += &format!(
                "\nThe configuration of then is in {}",
                into.join("configuration").display()
            );
        }
    }
    text += "\nNext: cairn config check, then start the server";
    Answer {
        text,
        json: json!({
            "server_name": about.server_name, "made_at": about.made_at, "into": into,
            "files": manifest.files.len(), "bytes": manifest.bytes(), "position": position.0,
            "lost_seconds": age, "one_time_keys_dropped": forgotten.one_time_keys,
            "notifications_dropped": forgotten.notifications, "damaged": unpacked.damaged,
            "configuration": written,
        }),
    }
}

/// Where a backup comes from.
enum Origin {
    Folder(Box<Repository>, Box<Manifest>),
    Stream(Box<dyn Read>),
}

impl Origin {
    fn open(source: &BackupSource) -> Result<Self, Failure> {
        let from = &source.from;
        let identity = identity(&source.key)?;
        if from.is_dir() {
            let repository = Repository::open(from).map_err(failed)?;
            let repository = repository.with_identity(identity);
            let held = repository.backup(source.backup.as_deref());
            let manifest = held.map_err(failed)?.manifest;
            return Ok(Self::Folder(repository.into(), manifest.into()));
        }
        if source.backup.is_some() {
            return Err(failed("--backup is for folders: an archive has one backup"));
        }
        let stream: Box<dyn Read> =
            match from.as_os_str() == "-" {
                true => Box::new(std::io::stdin()),
                false => Box::new(File::open(from).map_err(|error| {
                    failed(format!("{} cannot be read: {error}", from.display()))
                })?),
            };
        let Some(identity) = identity else {
            return Ok(Self::Stream(stream));
        };
        let opened = Opened::new(BufReader::new(stream), &identity)
            .map_err(|error| failed(format!("{} cannot be opened: {error}", from.display())))?;
        Ok(Self::Stream(Box::new(opened)))
    }

    fn unpack(&mut self, layout: &Layout, teller: &mut Teller) -> Result<Unpacked, Failure> {
        match self {
            Self::Folder(repository, manifest) => {
                backup::unpack_backup(repository, manifest, layout, teller)
            }
            Self::Stream(stream) => backup::unpack_stream(stream, layout, teller),
        }
        .map_err(failed)
    }
}

/// What a rehearsal found.
struct Rehearsed {
    accounts: usize,
    events: u64,
    rows: u64,
    key_id: String,
    /// Files that the database names and the backup does not have.
    missing: Vec<String>,
}

/// Opens a laid out database as a restored server would, reads every row, and starts a server
/// on it.
fn rehearse(folder: &Path, unpacked: &Unpacked, teller: &mut Teller) -> Result<Rehearsed, Failure> {
    let key = SigningKey::parse(&String::from_utf8_lossy(&unpacked.key)).map_err(failed)?;
    let name = &unpacked.manifest.about.server_name;
    begin_again(folder, name)?;
    let store = open(folder, name)?;
    teller.begin("reading the database");
    let rows = store.check(|_| ()).map_err(failed)?;
    let view = store.snapshot();
    let events = rooms::volume(&view).map_err(failed)?.events;
    let (mut accounts, mut after) = (0, None::<UserSerial>);
    loop {
        let page = accounts::accounts_after(&view, after, PAGE).map_err(failed)?;
        accounts += page.len();
        after = page.last().map(|last| last.user);
        if page.len() < PAGE {
            break;
        }
    }
    let mut missing = Vec::new();
    actions::named_files(&view, |hash| {
        if !unpacked.manifest.has_content(hash) {
            missing.push(backup::media_name(hash));
        }
    })
    .map_err(failed)?;
    drop((view, store));
    teller.begin("starting a server");
    let text = String::from_utf8_lossy(&unpacked.key);
    write_private(folder, &folder.join(KEY), &text).map_err(failed)?;
    serve::rehearse(folder, name)?;
    Ok(Rehearsed {
        accounts,
        events,
        rows,
        key_id: key.key_id().to_owned(),
        missing,
    })
}

fn open(folder: &Path, name: &str) -> Result<Store, Failure> {
    let options = StoreOptions::default();
    Store::open(folder, name, &options, &Clock::system(), &Random::system()).map_err(failed)
}

/// Begins the new life of a laid out database. Returns the last position of the old one.
fn begin_again(folder: &Path, name: &str) -> Result<(Position, Forgotten), Failure> {
    let options = StoreOptions::default();
    let position = store::begin_epoch(folder, name, &options, &Random::system()).map_err(failed)?;
    Ok((position, forget_outdated(folder, name)?))
}

/// Forgets in a new life of a database what must not be told again.
fn forget_outdated(folder: &Path, name: &str) -> Result<Forgotten, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("this process cannot work: {error}")))?;
    let store = open(folder, name)?;
    let forgotten = runtime.block_on(actions::forget_outdated(&store));
    forgotten.map_err(failed)
}

/// Puts the configuration of then where it is looked for, if nothing is there and that can be
/// done; returns where.
fn write_configuration(into: &Path, file: &Path) -> Option<PathBuf> {
    let above = file.parent()?;
    fs::create_dir_all(above).ok()?;
    // It may hold secrets: for its owner, and for the group of those who run the server.
    let mut target = File::options()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(file)
        .ok()?;
    let group = fs::metadata(into).ok()?.gid();
    // Who is not root has another group perhaps, and writes a file for itself.
    let _ = chown(file, None, Some(group));
    let mut source = File::open(into.join(CONFIGURATION_FILE)).ok()?;
    std::io::copy(&mut source, &mut target).ok()?;
    target.sync_all().ok()?;
    Some(file.to_owned())
}

/// Has the server go on without what the damaged log of its database has lost, as after a
/// restore.
pub(super) fn accept_loss(common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let (folder, name) = (&config.data_dir, config.server_name.as_str());
    let lost = match Store::open(
        folder,
        name,
        &StoreOptions::default(),
        &Clock::system(),
        &Random::system(),
    ) {
        Ok(_) => return Err(failed("nothing is lost: the database opens as it is")),
        Err(OpenError::Lost { commits, at, .. }) => (commits, at),
        Err(error) => return Err(failed(error)),
    };
    let options = StoreOptions::default();
    let position = store::accept_loss(folder, name, &options, &Random::system()).map_err(failed)?;
    let forgotten = forget_outdated(folder, name)?;
    give_back(folder);
    let (commits, at) = lost;
    Ok(Answer {
        text: format!(
            "Given up: {commits} commits, the last one made at {at}. Devices sync anew; those that signed in with a lost commit must sign in again.\n\
             Dropped, as they may have been given out: {} one-time keys (devices upload new ones), {} waiting notifications.\n\
             Next: systemctl start cairn",
            forgotten.one_time_keys, forgotten.notifications,
        ),
        json: json!({
            "commits": commits, "last_at": at, "position": position.0,
            "one_time_keys_dropped": forgotten.one_time_keys,
            "notifications_dropped": forgotten.notifications,
        }),
    })
}

/// Goes back to the database of before an upgrade.
pub(super) fn go_back(common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let (folder, name) = (&config.data_dir, config.server_name.as_str());
    let options = StoreOptions::default();
    let position = store::go_back(folder, name, &options, &Random::system()).map_err(failed)?;
    let forgotten = forget_outdated(folder, name)?;
    give_back(folder);
    Ok(Answer {
        text: format!(
            "The database is as it was before the upgrade; what came after is put aside in {}.\n\
             Devices sync anew; those that signed in after it must sign in again.\n\
             Dropped, as they may have been given out: {} one-time keys (devices upload new ones), {} waiting notifications.\n\
             Next: systemctl start cairn",
            folder.join("database.newer").display(),
            forgotten.one_time_keys,
            forgotten.notifications,
        ),
        json: json!({
            "position": position.0, "one_time_keys_dropped": forgotten.one_time_keys,
            "notifications_dropped": forgotten.notifications,
        }),
    })
}

/// A folder for a rehearsal, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    /// Beside the backups, where files can be linked; else among temporary files.
    fn beside(origin: &Origin) -> Result<Self, Failure> {
        let beside = match origin {
            Origin::Folder(repository, _) => repository.scratch().ok(),
            Origin::Stream(_) => None,
        };
        beside.map_or_else(temporary_folder, Ok).map(Self)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed when the next backup begins.
        let _ = fs::remove_dir_all(&self.0);
    }
}
