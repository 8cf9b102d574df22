//! Ends of RocksDB's log that its reader does not survive.
//!
//! A header that says that the file was used before, in one that was not, keeps RocksDB in a circle
//! for ever ([`USED_AGAIN`]). One flipped bit makes such a header of a good one, and so can what
//! a power cut leaves. So the log is looked through before RocksDB sees it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use crate::frames::{self, USED_AGAIN};

/// Where the first header stands at which RocksDB would not go on; none if there is none.
pub(crate) fn trap(log: &Path) -> io::Result<Option<u64>> {
    let mut has_record = false;
    let found = frames::walk(log, |frame| {
        if USED_AGAIN.contains(&frame.kind) {
            return ControlFlow::Break(has_record.then_some(frame.at));
        }
        has_record |= frame.is_whole();
        ControlFlow::Continue(())
    })?;
    Ok(found.flatten())
}

/// A copy of the database with its log cut off at `end`, to look at; hard links but for the
/// log. Later logs are left out: RocksDB would not come to them.
pub(crate) fn cut_copy(database: &Path, log: &Path, end: u64, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let is_log = path.extension().is_some_and(|ending| ending == "log");
        let target: PathBuf = to.join(name);
        if path == log {
            let mut source = File::open(&path)?.take(end);
            io::copy(&mut source, &mut File::create(&target)?)?;
        } else if is_log && path.as_path() > log {
            continue;
        } else if name != "LOCK" && path.is_file() {
            fs::hard_link(&path, &target).or_else(|_| fs::copy(&path, &target).map(drop))?;
        }
    }
    Ok(())
}

/// Cuts the log off: what comes behind is what a power cut left.
pub(crate) fn cut(log: &Path, end: u64) -> io::Result<()> {
    let file = File::options().write(true).open(log)?;
    file.set_len(end)?;
    file.sync_all()
}
