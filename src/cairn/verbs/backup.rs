//! `cairn backup create` and `list`: copies of everything, made while the server runs.
//!
//! The running server only copies its database, which takes a moment, as files that never
//! change are hard links; this process reads the rest. A file that somebody uploads is on
//! disk before any row names it, and so the files are gone through before that copy and
//! again after it: whatever the copy names is there.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use actions::{Administration, CHECKPOINT};
use backup::{About, CONFIGURATION, Identity, KEY, Made, Making, Repository, Seal};
use runtime::Clock;
use serde_json::{Value, json};

use super::{Answer, Failure, administer::SOCKET, mend, restore};
use crate::{
    command_line::{BackupVerb, Common, SecretKey},
    config::Config,
    parts::give_back,
    progress::{Teller, size},
    socket,
};

/// The name of the configuration in a backup.
pub(super) const CONFIGURATION_FILE: &str = "configuration/cairn.toml";

/// Does a verb of `cairn backup`.
pub(super) fn run(verb: BackupVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        BackupVerb::Create { to, keep, seal_to } => create(&to, keep, seal_to, common),
        BackupVerb::List { from, key } => list(&from, &key),
        BackupVerb::Mend { from, key } => mend::mend(&from, &key, common),
        BackupVerb::Verify(source) => restore::verify(&source, common),
        BackupVerb::Restore { source, into } => restore::restore(&source, into, common),
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

fn create(
    to: &str,
    keep: Option<u32>,
    seal_to: Option<String>,
    common: &Common,
) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let seal = seal_to.map(|key| seal(&key, &config)).transpose()?;
    let open = |folder: &Path| {
        Repository::create(folder, config.server_name.as_str(), seal.clone()).map_err(failed)
    };
    let is_stream = to == "-";
    if is_stream && keep.is_some() {
        return Err(failed("--keep is for folders: a stream keeps nothing"));
    }
    let folder = Path::new(to);
    if !is_stream && lies_in(folder, &config.data_dir) {
        return Err(failed(format!(
            "{to} lies in the data folder, and would be lost with it: name another place"
        )));
    }
    let clock = Clock::system();
    let begun = clock.now();
    let lock = lock(&config.data_dir)?;
    let mut teller = Teller::new(common.json);
    let made = {
        let making = if is_stream {
            let recipient = seal.as_ref().map(|seal| &seal.recipient);
            Making::into_stream(Box::new(std::io::stdout()), recipient, &mut teller)
                .map_err(failed)?
        } else {
            Making::into_folder(open(folder)?, &mut teller).map_err(failed)?
        };
        let made = fill(making, &config, &common.config, &clock);
        remove_copy(&config.data_dir);
        made?
    };
    drop((lock, teller));
    let (removed, freed) = match keep {
        Some(keep) => open(folder)?
            .prune(usize::try_from(keep).unwrap_or(usize::MAX))
            .map_err(failed)?,
        None => (Vec::new(), 0),
    };
    // Root may have made what the server's own user is to change the next time.
    give_back(&config.data_dir);
    if !is_stream && let Err(error) = backup::give_to_owner(folder, None) {
        eprintln_quietly(&format!("cairn: {error}"));
    }
    let took = clock.now().since(begun);
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = made.copied_bytes.saturating_mul(1_000) / milliseconds;
    let mut text = told(&made, to, rate);
    if !removed.is_empty() {
        text += &format!("\nRemoved {} older, {}", removed.len(), size(freed));
    }
    let json = json!({
        "backup": made.name,
        "files": made.files,
        "bytes": made.bytes,
        "copied_files": made.copied_files,
        "copied_bytes": made.copied_bytes,
        "seconds": took.as_secs_f64(),
        "damaged": made.damaged,
        "removed": removed,
        "freed_bytes": freed,
    });
    if is_stream {
        // Standard output has the archive.
        eprintln_quietly(&if common.json { json.to_string() } else { text });
        return Ok(Answer {
            text: String::new(),
            json: Value::Null,
        });
    }
    Ok(Answer { text, json })
}

/// Whom to seal for; files are named with a secret that only this server has.
fn seal(key: &str, config: &Config) -> Result<Seal, Failure> {
    let recipient = key.parse().map_err(failed)?;
    let path = config.data_dir.join(KEY);
    let secret = fs::read(&path)
        .map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))?;
    Ok(Seal {
        recipient,
        names: backup::naming_key(&secret),
    })
}

/// The key of an identity file, if one is named.
pub(super) fn identity(key: &SecretKey) -> Result<Option<Identity>, Failure> {
    let Some(path) = &key.identity else {
        return Ok(None);
    };
    let text = fs::read_to_string(path)
        .map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))?;
    let parsed = Identity::parse(&text);
    parsed
        .map(Some)
        .map_err(|error| failed(format!("{}: {error}", path.display())))
}

fn told(made: &Made, to: &str, rate: u64) -> String {
    let place = match to {
        "-" => "Archive".to_owned(),
        _ => format!("Backup {} in {to}", made.name),
    };
    let mut text = format!(
        "{place}: {} files, {}; copied {} files, {}, at {}/s",
        made.files,
        size(made.bytes),
        made.copied_files,
        size(made.copied_bytes),
        size(rate)
    );
    for path in &made.damaged {
        text += &format!(
            "\nDAMAGED on this server's disk, and not in this backup: {path}. An earlier backup may have it: look below {to}/objects for a file of this name, and copy it back"
        );
    }
    text
}

fn eprintln_quietly(text: &str) {
    use std::io::Write as _;
    // Nobody may be reading, and the backup is made all the same.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Copies everything, in the order that makes it whole.
fn fill(
    mut making: Making<'_>,
    config: &Config,
    file: &Path,
    clock: &Clock,
) -> Result<Made, Failure> {
    let media = config.data_dir.join("media");
    making.add_media(&media).map_err(failed)?;
    let made_at = clock.now();
    let (database, held) = copy_of_database(config)?;
    let notes = temporary_folder()?;
    let inspected = store::inspect(&database, &notes);
    // RocksDB's notes on a look at the copy; nobody needs them.
    let _ = fs::remove_dir_all(&notes);
    let inspected = inspected.map_err(failed)?;
    making.add_database(&database).map_err(failed)?;
    drop(held);
    making.add_media(&media).map_err(failed)?;
    making
        .add_file(KEY, &config.data_dir.join(KEY))
        .map_err(failed)?;
    making.add_file(CONFIGURATION_FILE, file).map_err(failed)?;
    for name in own_certificates(config) {
        let path = config.data_dir.join(&name);
        making.add_file(&name, &path).map_err(failed)?;
    }
    for path in named_files(config) {
        let path = fs::canonicalize(&path)
            .map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))?;
        let name = path.to_string_lossy();
        let name = format!("{CONFIGURATION}/files/{}", name.trim_start_matches('/'));
        making.add_file(&name, &path).map_err(failed)?;
    }
    let about = About {
        server_name: inspected.identity,
        made_at,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position: inspected.position.0,
        epoch: inspected.epoch,
        names: None,
        configuration: file.display().to_string().replace('\n', " "),
    };
    making.finish(about).map_err(failed)
}

/// A copy of the database that nobody changes: the running server's, or the data folder's
/// own, which is held meanwhile.
fn copy_of_database(config: &Config) -> Result<(PathBuf, Option<File>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("this process cannot work: {error}")))?;
    let path = config.data_dir.join(SOCKET);
    let answer = runtime.block_on(socket::ask(&path, &Administration::CopyDatabase))?;
    let Some(answer) = answer else {
        let database = store::database_folder(&config.data_dir);
        if !database.join("CURRENT").exists() {
            let folder = config.data_dir.display();
            return Err(failed(format!("there is no database in {folder}")));
        }
        let held = store::hold(&config.data_dir).map_err(failed)?;
        return Ok((database, Some(held)));
    };
    let folder = answer["folder"].as_str().map(PathBuf::from);
    let folder =
        folder.ok_or_else(|| failed("the running server did not say where its copy is"))?;
    Ok((folder, None))
}

/// The files of certificates that the server sees to itself, by their names in the data folder.
fn own_certificates(config: &Config) -> Vec<String> {
    let all = ["server.pem", "root.pem", "root.key", "account.key"];
    let named = all.map(|name| format!("{}/{name}", certificates::FOLDER));
    let there = |name: &String| config.data_dir.join(name).exists();
    match config.certificates.names.is_empty() {
        true => Vec::new(),
        false => named.into_iter().filter(there).collect(),
    }
}

/// The files that the configuration names.
fn named_files(config: &Config) -> BTreeSet<PathBuf> {
    let given = config
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
        .flat_map(|tls| [&tls.certificate, &tls.key]);
    let registrations = &config.application_services.registrations;
    let roots = &config.outgoing.trusted_roots;
    let all = given.chain(registrations).chain(roots);
    let own = config.data_dir.join(certificates::FOLDER);
    // What the server makes itself lies in the data folder, here and there.
    all.filter(|path| !path.starts_with(&own))
        .cloned()
        .collect()
}

/// A new folder of this process' own for a moment.
pub(super) fn temporary_folder() -> Result<PathBuf, Failure> {
    let name = format!("cairn-{}", runtime::Random::system().token());
    let folder = std::env::temp_dir().join(name);
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(&folder)
        .map_err(|error| failed(format!("{} cannot be made: {error}", folder.display())))?;
    Ok(folder)
}

/// Whether `folder` is in `outer`, as far as either is there already.
fn lies_in(folder: &Path, outer: &Path) -> bool {
    let real = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let there = absolute.ancestors().find(|path| path.exists());
        let found = there.and_then(|there| {
            let rest = absolute.strip_prefix(there).ok()?;
            Some(fs::canonicalize(there).ok()?.join(rest))
        });
        found.unwrap_or(absolute)
    };
    real(folder).starts_with(real(outer))
}

/// Holds the right to make a backup of this data folder: one process at a time.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    let path = data_dir.join("backup.lock");
    let unusable =
        |error: std::io::Error| failed(format!("{} cannot be used: {error}", path.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed("another backup of this server runs")),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Removes the copy of the database that a backup was made from.
fn remove_copy(data_dir: &Path) {
    match fs::remove_dir_all(data_dir.join(CHECKPOINT)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln_quietly(&format!(
                "cairn: {} was not removed and takes room until the next backup: {error}",
                data_dir.join(CHECKPOINT).display()
            ));
        }
        _ => {}
    }
}

/// Removes what a backup left that was killed, if none runs.
pub(super) fn remove_left_copy(data_dir: &Path) {
    if data_dir.join(CHECKPOINT).exists() && lock(data_dir).is_ok() {
        remove_copy(data_dir);
    }
}

fn list(from: &Path, key: &SecretKey) -> Result<Answer, Failure> {
    let repository = Repository::open(from).map_err(failed)?;
    let repository = repository.with_identity(identity(key)?);
    let (mut lines, mut backups) = (Vec::new(), Vec::new());
    for name in repository.names().map_err(failed)? {
        match repository.backup(Some(&name)) {
            Ok(held) => {
                let (files, bytes) = (held.manifest.files.len(), held.manifest.bytes());
                let about = held.manifest.about;
                lines.push(format!(
                    "{name}  {}  {files} files, {}",
                    about.server_name,
                    size(bytes)
                ));
                backups.push(json!({
                    "backup": name, "server_name": about.server_name, "made_at": about.made_at,
                    "files": files, "bytes": bytes, "position": about.position, "version": about.version,
                }));
            }
            Err(error) => {
                lines.push(format!("{name}  {error}"));
                backups.push(json!({ "backup": name, "error": error.to_string() }));
            }
        }
    }
    if lines.is_empty() {
        lines.push("None".to_owned());
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({ "backups": backups }),
    })
}
