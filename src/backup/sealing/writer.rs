//! Sealing what is written.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ring::{aead, hmac};
use runtime::Random;

use super::{FILE_KEY, PIECE, Recipient, SealError, VERSION, header_key, nonce, payload_key};

/// Seals what is written into it. Only [`Sealed::finish`] makes the end of it: what is
/// dropped before ends early, and cannot be opened to its end.
pub struct Sealed<W> {
    target: W,
    key: aead::LessSafeKey,
    /// What came and is not sealed yet: the last piece is known as such only at the end.
    waiting: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealed<W> {
    /// Begins to seal for `recipient`.
    ///
    /// # Errors
    /// If `target` cannot be written.
    pub fn new(mut target: W, recipient: &Recipient, random: &Random) -> io::Result<Self> {
        let file_key: [u8; FILE_KEY] = random.bytes();
        let stanza = recipient.wrap(&file_key, random)?;
        let header = format!("{VERSION}\n{stanza}---");
        let mac = hmac::sign(&header_key(&file_key)?, header.as_bytes());
        let nonce: [u8; 16] = random.bytes();
        target.write_all(format!("{header} {}\n", BASE64.encode(mac)).as_bytes())?;
        target.write_all(&nonce)?;
        Ok(Self {
            target,
            key: payload_key(&file_key, &nonce)?,
            waiting: Vec::with_capacity(PIECE + super::TAG),
            number: 0,
        })
    }

    /// Writes the last piece, and gives back what it was written into.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.target.flush()?;
        Ok(self.target)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, is_last);
        self.key
            .seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut self.waiting)
            .map_err(|_| SealError::Failed)?;
        self.number += 1;
        self.target.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == PIECE && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(PIECE - self.waiting.len());
        self.waiting
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    /// Whole pieces alone are written before the end.
    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}
