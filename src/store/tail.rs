//! Ends of RocksDB's log that its reader does not survive.
//!
//! A header that says that the file was used before, in one that was not, keeps RocksDB 11.8 in a
//! circle for ever (`log::Reader::ReadPhysicalRecord` returns `kBadRecord` and stays where it
//! is). One flipped bit makes such a header of a good one, and so can what a power cut leaves.
//! So the log is looked through before RocksDB sees it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The log is read in blocks of so many bytes; no record goes over the end of one.
const BLOCK: usize = 32 << 10;
/// A header: sum (4), length (2), kind (1).
const HEADER: usize = 7;
/// The kinds of records in files that are used again.
const USED_AGAIN: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Where the first header stands at which RocksDB would not go on; none if there is none.
pub(crate) fn trap(log: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(log)?;
    let (mut block, mut begins, mut has_record) = (Vec::with_capacity(BLOCK), 0_u64, false);
    loop {
        block.clear();
        let limit = BLOCK as u64;
        (&mut file).take(limit).read_to_end(&mut block)?;
        let mut rest = block.as_slice();
        while let Some((&[_, _, _, _, low, high, kind], behind)) =
            rest.split_first_chunk::<HEADER>()
        {
            if USED_AGAIN.contains(&kind) {
                let place = begins + (block.len() - rest.len()) as u64;
                return Ok(has_record.then_some(place));
            }
            let length = usize::from(u16::from_le_bytes([low, high]));
            if kind == 0 && length == 0 {
                break;
            }
            let Some(next) = behind.get(length..) else {
                // Longer than its block: here RocksDB ends by itself.
                return Ok(None);
            };
            has_record = true;
            rest = next;
        }
        if block.len() < BLOCK {
            return Ok(None);
        }
        begins += limit;
    }
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
