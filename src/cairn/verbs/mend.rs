//! `cairn backup mend`: single damaged files, put back as a backup has them.

use std::path::Path;

use backup::Repository;
use serde_json::json;

use super::{
    Answer, Failure,
    backup::{failed, identity, temporary_folder},
};
use crate::{
    command_line::{Common, SecretKey},
    config::Config,
    parts::give_back,
    progress::Teller,
};

/// Compares the files of the data folder with those of the backups, and puts back what is
/// damaged or, of the database, missing.
pub(super) fn mend(from: &Path, key: &SecretKey, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let folder = &config.data_dir;
    // Until the end: no server begins meanwhile.
    let held = store::hold(folder).map_err(failed)?;
    let repository = Repository::open(from).map_err(failed)?;
    let repository = repository.with_identity(identity(key)?);
    let epoch = store::epoch_of(folder).ok_or_else(|| {
        failed("which life of the database this is cannot be found out: restore a whole backup (cairn backup restore FOLDER)")
    })?;
    let mut teller = Teller::new(common.json);
    let mended = backup::mend(&repository, folder, epoch, &missing(folder)?, &mut teller);
    let mended = mended.map_err(failed)?;
    // Files that change are in no backup as they should be: the log, the list of files.
    let broken = broken(folder)?;
    drop((held, teller));
    give_back(folder);
    let mut lines = vec![format!("Compared {} files", mended.compared)];
    lines.extend(
        mended
            .put_back
            .iter()
            .map(|name| format!("Put back: {name}")),
    );
    lines.extend(
        mended
            .beyond
            .iter()
            .map(|name| format!("DAMAGED, and in no backup as it should be: {name}")),
    );
    lines.extend(
        broken
            .iter()
            .map(|reason| format!("The database still cannot be opened: {reason}")),
    );
    let text = lines.join("\n");
    let json = json!({
        "compared": mended.compared, "put_back": mended.put_back, "beyond": mended.beyond,
        "broken": broken,
    });
    match mended.beyond.is_empty() && broken.is_none() {
        true => Ok(Answer { text, json }),
        false => Err(Failure::Found { text, json }),
    }
}

/// The files of the database that are not there and should be, by their names in the data
/// folder: RocksDB names them when it cannot open it.
fn missing(folder: &Path) -> Result<Vec<String>, Failure> {
    let Some(reason) = broken(folder)? else {
        return Ok(Vec::new());
    };
    let words = reason.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let is_file = |word: &&str| word.ends_with(".sst") || word.ends_with(".blob");
    let names = words.filter(is_file).map(|name| format!("database/{name}"));
    Ok(names.filter(|name| !folder.join(name).exists()).collect())
}

/// Why the database cannot be opened; none if it can.
fn broken(folder: &Path) -> Result<Option<String>, Failure> {
    let notes = temporary_folder()?;
    let broken = store::broken(&store::database_folder(folder), &notes);
    let _ = std::fs::remove_dir_all(&notes);
    Ok(broken)
}
