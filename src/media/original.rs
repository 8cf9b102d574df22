//! The bytes of a file, wherever they lie: in the folder, or, of a small file, in a row
//! of the database.
//!
//! A small file is one row, written in the commit of the row that names it and deleted
//! with the last of those: no file to be made, renamed and synced twice for a few
//! kilobytes, and nothing to be swept. Small files from before there were such rows lie
//! in the folder.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use model::{ContentHash, tables::SMALL_FILE_BY_CONTENT};

use crate::{
    StorageError,
    folder::{Folder, OpenFile},
};

/// The longest file that is a row, in bytes.
pub(crate) const MAX_ROW_BYTES: usize = 16 * 1_024;

/// A file that was found.
pub(crate) enum Original {
    /// In the folder.
    File(OpenFile),
    /// In the database.
    Row(Row),
}

/// A small file and, as an open file has it, the place up to which it was read.
pub(crate) struct Row {
    bytes: Bytes,
    place: AtomicU64,
}

impl Original {
    /// Finds the bytes with a hash.
    pub(crate) fn find(
        view: &impl store::Read,
        folder: &Folder,
        hash: &ContentHash,
    ) -> Result<Self, StorageError> {
        if let Some(bytes) = view.get(&SMALL_FILE_BY_CONTENT, hash)? {
            return Ok(Self::Row(Row {
                bytes: bytes.into(),
                place: AtomicU64::new(0),
            }));
        }
        Ok(Self::File(folder.open_content(hash)?))
    }

    /// These bytes.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self::Row(Row {
            bytes: bytes.into(),
            place: AtomicU64::new(0),
        })
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.length(),
            Self::Row(row) => Ok(row.bytes.len() as u64),
        }
    }

    /// `length` bytes from `offset` on; fewer are an error.
    pub(crate) fn piece(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file) => file.read(offset, length),
            Self::Row(row) => row.slice(offset, length),
        }
    }
}

impl Row {
    fn slice(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let from = usize::try_from(offset).ok();
        let range = from.and_then(|from| Some(from..from.checked_add(length)?));
        match range.filter(|range| range.end <= self.bytes.len()) {
            Some(range) => Ok(self.bytes.slice(range)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for &Original {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Original::File(file) => (&file.file).read(buffer),
            Original::Row(row) => {
                let place = row.place.load(Ordering::Relaxed);
                let from = usize::try_from(place).unwrap_or(usize::MAX);
                let rest = row.bytes.get(from..).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                row.place.store(place + length as u64, Ordering::Relaxed);
                Ok(length)
            }
        }
    }
}

impl Seek for &Original {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Original::File(file) => (&file.file).seek(to),
            Original::Row(row) => {
                let (base, by) = match to {
                    SeekFrom::Start(place) => (place, 0),
                    SeekFrom::End(by) => (row.bytes.len() as u64, by),
                    SeekFrom::Current(by) => (row.place.load(Ordering::Relaxed), by),
                };
                let place = base
                    .checked_add_signed(by)
                    .ok_or(io::ErrorKind::InvalidInput)?;
                row.place.store(place, Ordering::Relaxed);
                Ok(place)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..=99).collect();
        std::fs::write(&path, &bytes).unwrap();
        let row = Row {
            bytes: bytes.clone().into(),
            place: AtomicU64::new(0),
        };
        let both = [Original::File(OpenFile::at(&path)), Original::Row(row)];
        for original in &both {
            assert_eq!(original.length().unwrap(), 100);
            assert_eq!(&original.piece(10, 3).unwrap()[..], [10, 11, 12]);
            assert_eq!(original.piece(100, 0).unwrap().len(), 0);
            assert!(original.piece(98, 3).is_err());
            let mut reader = original;
            let mut two = [0; 2];
            reader.read_exact(&mut two).unwrap();
            assert_eq!(two, [0, 1]);
            assert_eq!(reader.seek(SeekFrom::Current(5)).unwrap(), 7);
            reader.read_exact(&mut two).unwrap();
            assert_eq!(two, [7, 8]);
            assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), 99);
            assert!(reader.read_exact(&mut two).is_err());
            assert_eq!(reader.seek(SeekFrom::Start(200)).unwrap(), 200);
            assert_eq!(reader.read(&mut two).unwrap(), 0);
            assert!(reader.seek(SeekFrom::Current(-201)).is_err());
            let mut all = Vec::new();
            reader.rewind().unwrap();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
        }
    }
}
