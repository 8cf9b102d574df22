//! The form in which RocksDB writes its log and the list of its files: blocks of records.
//!
//! ```text
//! SUM (4) LENGTH (2) KIND (1) BYTES…
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    ops::ControlFlow,
    path::Path,
};

/// A file is read in blocks of so many bytes; no record goes over the end of one.
const BLOCK: usize = 32 << 10;
/// A header: sum (4), length (2), kind (1).
const HEADER: usize = 7;
/// The kinds of records in files that are used again. A header of such a kind in a file that is
/// not keeps RocksDB 11.8 in a circle for ever (`log::Reader::ReadPhysicalRecord` returns
/// `kBadRecord` and stays where it is). One flipped bit makes such a header of a good one.
pub(crate) const USED_AGAIN: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// What stands at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A record as it was written.
    Sound,
    /// Zeros to the end of the block.
    Empty,
    /// A record that goes over the end of the file, as a write that broke off leaves it.
    Torn,
    /// Anything else.
    Damaged,
}

/// What stands at a place of a file: a record, or what is taken for one.
pub(crate) struct Frame<'a> {
    /// Where its header stands in the file.
    pub(crate) at: u64,
    pub(crate) kind: u8,
    sum: [u8; 4],
    length: usize,
    /// The rest of the block behind the header.
    behind: &'a [u8],
    is_in_last_block: bool,
}

impl Frame<'_> {
    /// Whether it says of itself that it is nothing.
    fn is_empty(&self) -> bool {
        self.kind == 0 && self.length == 0
    }

    /// Whether there is a record, whatever is in it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_empty() && self.length <= self.behind.len()
    }

    /// What it is; reads its bytes.
    pub(crate) fn form(&self) -> Form {
        let Some(bytes) = self.behind.get(..self.length) else {
            return match self.is_in_last_block && !self.hides_records() {
                true => Form::Torn,
                false => Form::Damaged,
            };
        };
        if self.is_empty() && self.sum == [0; 4] && self.behind.iter().all(|byte| *byte == 0) {
            return Form::Empty;
        }
        match is_sum(self.sum, self.kind, bytes) {
            true => Form::Sound,
            false => Form::Damaged,
        }
    }

    /// Whether whole records stand where this one says that its own bytes are: its length is
    /// wrong then, and nothing broke off.
    fn hides_records(&self) -> bool {
        let is_record = |place: usize| {
            let header = self.behind.get(place..)?.split_first_chunk::<HEADER>();
            let (&[a, b, c, d, low, high, kind], behind) = header?;
            let bytes = behind.get(..usize::from(u16::from_le_bytes([low, high])))?;
            // Sums take their time, and others are rare.
            Some((1..=4).contains(&kind) && is_sum([a, b, c, d], kind, bytes))
        };
        is_sum(self.sum, self.kind, self.behind)
            || (0..self.behind.len()).any(|place| is_record(place) == Some(true))
    }
}

/// Whether a sum is that of a record, turned about so that no sum is taken of a sum (RocksDB's
/// `crc32c::Mask`).
fn is_sum(sum: [u8; 4], kind: u8, bytes: &[u8]) -> bool {
    let found = crc32c([kind].iter().chain(bytes));
    u32::from_le_bytes(sum) == found.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Goes through a file until `look` breaks off, and gives what that found. What follows a
/// record that goes over the end of its block is not gone through: RocksDB ends there.
pub(crate) fn walk<T>(
    path: &Path,
    mut look: impl FnMut(&Frame<'_>) -> ControlFlow<T>,
) -> io::Result<Option<T>> {
    let mut file = File::open(path)?;
    let (mut block, mut begins) = (Vec::with_capacity(BLOCK), 0_u64);
    loop {
        block.clear();
        let limit = BLOCK as u64;
        (&mut file).take(limit).read_to_end(&mut block)?;
        let is_in_last_block = block.len() < BLOCK;
        let mut rest = block.as_slice();
        while let Some((&[a, b, c, d, low, high, kind], behind)) =
            rest.split_first_chunk::<HEADER>()
        {
            let frame = Frame {
                at: begins + (block.len() - rest.len()) as u64,
                kind,
                sum: [a, b, c, d],
                length: usize::from(u16::from_le_bytes([low, high])),
                behind,
                is_in_last_block,
            };
            if let ControlFlow::Break(found) = look(&frame) {
                return Ok(Some(found));
            }
            if frame.is_empty() {
                break;
            }
            let Some(next) = behind.get(frame.length..) else {
                return Ok(None);
            };
            rest = next;
        }
        if is_in_last_block {
            return Ok(None);
        }
        begins += limit;
    }
}

/// CRC-32C (Castagnoli), a byte at a time: these files are short.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const TABLE: [u32; 256] = table();
    let mix = |sum: u32, byte: &u8| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)];
    !bytes.fold(!0, mix)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < table.len() {
        let (mut sum, mut bit) = (place as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0x82f6_3b78
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[place] = sum;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_everybody() {
        // RFC 3720, B.4, and the usual check of a CRC.
        assert_eq!(crc32c([0; 32].iter()), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32].iter()), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    }
}
