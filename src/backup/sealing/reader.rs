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
/// The length of a full line of a stanza's body.
const BODY_LINE: usize = 64;

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

/// What a header has for one recipient, or for one kind of them.
struct Stanza {
    arguments: Vec<String>,
    body: Vec<u8>,
}

/// Reads a header to its end, and finds the file's key. What is not as the format says is
/// refused, for whomever it is meant.
fn read_header(source: &mut impl Read, identity: &Identity) -> io::Result<[u8; FILE_KEY]> {
    let mut header = String::new();
    if read_line(source, &mut header)? != VERSION {
        return Err(SealError::Foreign.into());
    }
    let mut stanzas = Vec::new();
    loop {
        let before = header.len();
        let line = read_line(source, &mut header)?;
        if let Some(mac) = line.strip_prefix("--- ") {
            let mac: [u8; 32] = decoded(mac)?.try_into().map_err(|_| SealError::Foreign)?;
            let file_key = find_key(&stanzas, identity)?.ok_or(SealError::OtherKey)?;
            let signed = header.get(..before + 3).unwrap_or_default();
            return match hmac::verify(&header_key(&file_key)?, signed.as_bytes(), &mac) {
                Ok(()) => Ok(file_key),
                Err(_) => Err(SealError::Damaged.into()),
            };
        }
        let arguments = line.strip_prefix("-> ").ok_or(SealError::Foreign)?;
        let is_argument = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        if !arguments
            .iter()
            .all(|text| !text.is_empty() && is_argument(text))
        {
            return Err(SealError::Foreign.into());
        }
        let body = read_body(source, &mut header)?;
        stanzas.push(Stanza { arguments, body });
    }
}

/// Reads the body of a stanza: full lines, and a shorter one, which may be empty.
fn read_body(source: &mut impl Read, header: &mut String) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(source, header)?;
        if line.len() > BODY_LINE {
            return Err(SealError::Foreign.into());
        }
        body.extend(decoded(&line)?);
        if line.len() < BODY_LINE {
            return Ok(body);
        }
    }
}

/// The file's key, if one of the stanzas is for the identity.
fn find_key(stanzas: &[Stanza], identity: &Identity) -> Result<Option<[u8; FILE_KEY]>, SealError> {
    let mut file_key = None;
    for stanza in stanzas {
        match stanza.arguments.as_slice() {
            [kind, share] if kind == STANZA => {
                let share = decoded(share)?.try_into().map_err(|_| SealError::Foreign)?;
                let found = identity.unwrap(&share, &stanza.body)?;
                file_key = file_key.or(found);
            }
            [kind, ..] if kind == STANZA => return Err(SealError::Foreign),
            // Whoever knows a passphrase is known to nobody else: it stands alone.
            [kind, ..] if kind == "scrypt" && stanzas.len() > 1 => return Err(SealError::Foreign),
            _ => {}
        }
    }
    match stanzas {
        [] => Err(SealError::Foreign),
        _ => Ok(file_key),
    }
}

/// Bytes in the one form of Base64 that the format knows.
fn decoded(text: &str) -> Result<Vec<u8>, SealError> {
    BASE64.decode(text).map_err(|_| SealError::Foreign)
}

/// Reads a line, which is added to `header` with its end.
fn read_line(source: &mut impl Read, header: &mut String) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        if header.len() + line.len() > MAX_HEADER {
            return Err(SealError::Foreign.into());
        }
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
