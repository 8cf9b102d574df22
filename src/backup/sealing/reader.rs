//! Reading what is sealed.

use std::io::{self, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ring::{aead, hmac};

use super::{
    FILE_KEY, Identity, PIECE, STANZA, SealError, TAG, VERSION, header_key, nonce, payload_key,
};

/// The longest line of a header, and the longest header, in bytes.
const MAX_LINE: usize = 4 << 10;
const MAX_HEADER: usize = 64 << 10;

/// Gives the plain bytes of what is sealed. Bytes that were changed are never given out; that
/// something is missing at the end shows where it ends.
pub struct Opened<R> {
    source: R,
    key: aead::LessSafeKey,
    /// Sealed bytes that were read: at most one more than a piece has.
    sealed: Vec<u8>,
    /// Plain bytes that were not asked for yet, from `place` on.
    plain: Vec<u8>,
    place: usize,
    number: u64,
    is_over: bool,
}

impl<R: Read> Opened<R> {
    /// Reads the header, with a key of `identity`.
    ///
    /// # Errors
    /// [`SealError`], or that `source` cannot be read.
    pub fn new(mut source: R, identity: &Identity) -> io::Result<Self> {
        let file_key = read_header(&mut source, identity)?;
        let mut nonce = [0; 16];
        source.read_exact(&mut nonce).map_err(ends_early)?;
        Ok(Self {
            source,
            key: payload_key(&file_key, &nonce)?,
            sealed: Vec::with_capacity(PIECE + TAG + 1),
            plain: Vec::new(),
            place: 0,
            number: 0,
            is_over: false,
        })
    }

    /// Opens the next piece.
    fn open_piece(&mut self) -> io::Result<()> {
        // One byte more says whether this is the last.
        let wanted = PIECE + TAG + 1 - self.sealed.len();
        let limit = u64::try_from(wanted).unwrap_or(0);
        (&mut self.source)
            .take(limit)
            .read_to_end(&mut self.sealed)?;
        let is_last = self.sealed.len() <= PIECE + TAG;
        let rest = match is_last {
            true => Vec::new(),
            false => self.sealed.split_off(PIECE + TAG),
        };
        let opened = self.key.open_in_place(
            nonce(self.number, is_last),
            aead::Aad::empty(),
            &mut self.sealed,
        );
        let plain = opened.map_err(|_| SealError::Damaged)?;
        // Only a whole file that is empty has an empty piece.
        if plain.is_empty() && self.number > 0 {
            return Err(SealError::Damaged.into());
        }
        self.plain.clear();
        self.plain.extend_from_slice(plain);
        self.place = 0;
        self.sealed = rest;
        self.number += 1;
        self.is_over = is_last;
        Ok(())
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.place == self.plain.len() {
            if self.is_over {
                return Ok(0);
            }
            self.open_piece()?;
        }
        let rest = self.plain.get(self.place..).unwrap_or_default();
        let given = rest.len().min(into.len());
        if let (Some(into), Some(rest)) = (into.get_mut(..given), rest.get(..given)) {
            into.copy_from_slice(rest);
        }
        self.place += given;
        Ok(given)
    }
}

/// Reads a header to its end, and finds the file's key.
fn read_header(source: &mut impl Read, identity: &Identity) -> io::Result<[u8; FILE_KEY]> {
    let mut header = String::new();
    if read_line(source, &mut header)? != VERSION {
        return Err(SealError::Foreign.into());
    }
    let (mut file_key, mut share) = (None, None::<String>);
    loop {
        if header.len() > MAX_HEADER {
            return Err(SealError::Foreign.into());
        }
        let before = header.len();
        let line = read_line(source, &mut header)?;
        if let Some(mac) = line.strip_prefix("--- ") {
            let file_key = file_key.ok_or(SealError::OtherKey)?;
            let mac = BASE64.decode(mac).map_err(|_| SealError::Foreign)?;
            let signed = header.get(..before + 3).unwrap_or_default();
            return match hmac::verify(&header_key(&file_key)?, signed.as_bytes(), &mac) {
                Ok(()) => Ok(file_key),
                Err(_) => Err(SealError::Damaged.into()),
            };
        }
        if let Some(given) = line.strip_prefix(STANZA) {
            share = Some(given.to_owned());
        } else if line.starts_with("-> ") {
            // For a key of another kind.
            share = None;
        } else if let Some(share) = share.take() {
            // The body of such a stanza is one line.
            file_key = file_key.or_else(|| identity.unwrap(&share, &line));
        }
    }
}

/// Reads a line, which is added to `header` with its end.
fn read_line(source: &mut impl Read, header: &mut String) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        source.read_exact(&mut byte).map_err(ends_early)?;
        match byte {
            [b'\n'] => break,
            [byte] if line.len() < MAX_LINE && byte.is_ascii() => line.push(byte),
            _ => return Err(SealError::Foreign.into()),
        }
    }
    let line = String::from_utf8(line).map_err(|_| SealError::Foreign)?;
    header.push_str(&line);
    header.push('\n');
    Ok(line)
}

fn ends_early(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SealError::Damaged.into(),
        _ => error,
    }
}
