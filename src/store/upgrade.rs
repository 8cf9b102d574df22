//! Bringing an old database to the format of today.
//!
//! - Before the first step a copy of the database is kept beside it, `database.format-N`: hard
//!   links, which take a moment and, until files are replaced, no room.
//! - A step goes through the database in pieces; each is one commit with how far the step has
//!   come. Whatever breaks off goes on there at the next start.
//! - Nothing else looks at the database meanwhile: it is not open yet.

use std::path::{Path, PathBuf};

use rocksdb::{WriteBatch, checkpoint::Checkpoint};

use crate::{
    OpenError, StoreError,
    database::{Database, META_BY_NAME, meta},
};

/// What the name of a kept copy begins with, in the data folder; its format follows.
const KEPT: &str = "database.format-";
/// Where a database is put that somebody went back from.
pub(crate) const NEWER: &str = "database.newer";

/// What makes of one format the next.
pub(crate) struct Step {
    /// What changes, for the operator: "messages are kept smaller".
    pub(crate) about: &'static str,
    /// Does it, from where it was when it broke off.
    pub(crate) run: fn(&mut Work<'_>) -> Result<(), StoreError>,
}

/// The steps from format 1 to today's, in order. A step that was released is never changed.
pub(crate) const STEPS: &[Step] = &[];

/// The format of the rows that this program writes. A higher one on disk is refused.
pub(crate) const fn format(steps: &[Step]) -> u32 {
    // There are not so many.
    1 + steps.len() as u32
}

/// A step that is under way.
pub(crate) struct Work<'a> {
    /// The database.
    pub(crate) database: &'a Database,
    /// Where to go on; empty at the beginning. What it means is the step's own.
    pub(crate) cursor: Vec<u8>,
    /// The format that the step makes.
    to: u32,
}

impl Work<'_> {
    /// Writes a piece, and that the step goes on at `cursor`.
    #[cfg_attr(not(test), expect(dead_code, reason = "no step was needed yet"))]
    pub(crate) fn commit(
        &mut self,
        mut rows: WriteBatch,
        cursor: Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut row = self.to.to_be_bytes().to_vec();
        row.extend_from_slice(&cursor);
        self.database
            .put(&mut rows, &META_BY_NAME, &meta::UPGRADE, &row)?;
        write(self.database, rows)?;
        self.cursor = cursor;
        Ok(())
    }

    /// The step is done: its format is the database's.
    fn finish(self) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let format = self.to.to_be_bytes().to_vec();
        let family = self.database.family(META_BY_NAME.family)?;
        self.database
            .put(&mut rows, &META_BY_NAME, &meta::FORMAT, &format)?;
        rows.delete_cf(family, META_BY_NAME.key(&meta::UPGRADE));
        write(self.database, rows)
    }
}

fn write(database: &Database, rows: WriteBatch) -> Result<(), StoreError> {
    database.db.write(rows)?;
    database.db.flush_wal(true)?;
    Ok(())
}

/// The databases that an upgrade, or the way back from one, has put aside in a data folder.
pub fn put_aside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name == NEWER || name.starts_with(KEPT))
    };
    paths.filter(is_aside).collect()
}

/// Where the copy of a database of format `format` is kept.
pub(crate) fn kept(folder: &Path, format: u32) -> PathBuf {
    folder.join(format!("{KEPT}{format}"))
}

/// The newest copy of a format that this program reads.
pub(crate) fn newest_kept(folder: &Path, known: u32) -> Option<PathBuf> {
    let mut formats = (1..=known).rev().map(|format| kept(folder, format));
    formats.find(|path| path.join("CURRENT").exists())
}

/// Brings the database in the data folder `folder`, whose format is `found`, to that of the
/// last of `steps`.
///
/// # Errors
/// If the database fails, or its copy cannot be made; the next start goes on.
pub(crate) fn upgrade(
    database: &Database,
    folder: &Path,
    found: u32,
    steps: &[Step],
) -> Result<(), OpenError> {
    let left = steps
        .get(found.saturating_sub(1) as usize..)
        .unwrap_or_default();
    if left.is_empty() {
        return Ok(());
    }
    let begun = begun(database)?;
    if begun.is_none() {
        keep(database, folder, found)?;
    }
    log::warn!(
        "the data folder has format {found} and is brought to {}; this can be stopped, and goes on at the next start. The database as it was stays in {}: remove it when you are content",
        format(steps),
        kept(folder, found).display()
    );
    for (number, step) in left.iter().enumerate() {
        let to = found + 1 + number as u32;
        let cursor = match &begun {
            Some((step, cursor)) if *step == to => cursor.clone(),
            _ => Vec::new(),
        };
        let resumed = if cursor.is_empty() {
            ""
        } else {
            ", from where it broke off"
        };
        log::warn!("format {to}: {}{resumed}", step.about);
        let mut work = Work {
            database,
            cursor,
            to,
        };
        (step.run)(&mut work)?;
        work.finish()?;
    }
    log::warn!("the data folder has format {} now", format(steps));
    Ok(())
}

/// Which step has begun, and where it goes on.
pub(crate) fn begun(database: &Database) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
    let family = database.family(META_BY_NAME.family)?;
    let row = database
        .db
        .get_cf(family, META_BY_NAME.key(&meta::UPGRADE))?;
    Ok(row.and_then(|row| {
        let (to, cursor) = row.split_first_chunk::<4>()?;
        Some((u32::from_be_bytes(*to), cursor.to_vec()))
    }))
}

/// Keeps a copy of the database as it is, whole or not at all.
fn keep(database: &Database, folder: &Path, format: u32) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Folder {
        path: folder.to_owned(),
        reason,
    };
    let path = kept(folder, format);
    if path.exists() {
        return Ok(());
    }
    let unfinished = folder.join("database.unfinished");
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    Checkpoint::new(&database.db)
        .and_then(|checkpoint| checkpoint.create_checkpoint(&unfinished))
        .map_err(StoreError::from)?;
    std::fs::rename(&unfinished, &path)
        .and_then(|()| std::fs::File::open(folder)?.sync_all())
        .map_err(failed)
}
