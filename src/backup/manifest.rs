//! The list of a backup's files.
//!
//! ```text
//! cairn-backup 1
//! server council.example
//! made 1795435200123
//! version 0.1.0
//! position 4711
//! epoch 1234
//! configuration /etc/cairn/cairn.toml
//! names KEY                  only where the files are sealed: what their names are made with
//! file SHA256 LENGTH MODIFIED NAME
//! …
//! end SHA256
//! ```
//!
//! Times are milliseconds since the Unix epoch, but `MODIFIED` is nanoseconds; the last line
//! has the hash of all before it.

use std::{collections::BTreeMap, fmt::Write as _};

use runtime::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::BackupError;

/// The first line, with the only version that there has been.
const FIRST: &str = "cairn-backup 1";

/// What a backup is of, and when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The server's name.
    pub server_name: String,
    /// When the copy of the database was made.
    pub made_at: Timestamp,
    /// The version of the program that made it.
    pub version: String,
    /// The last commit that is in it.
    pub position: u64,
    /// Which life of the database it is from.
    pub epoch: u64,
    /// Where the configuration file lay.
    pub configuration: String,
    /// What the names of sealed files are made with.
    pub names: Option<[u8; 32]>,
}

/// One file of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// The SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// How many bytes there are.
    pub length: u64,
    /// When the original was changed last, in ns since the Unix epoch.
    pub modified: u64,
}

/// A backup: what it is of and which files it has, by their names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What it is of.
    pub about: About,
    /// Its files.
    pub files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    /// The bytes of all files together; as many as can be counted, if the list says that there
    /// are more.
    pub fn bytes(&self) -> u64 {
        let lengths = self.files.values().map(|file| file.length);
        lengths.fold(0, u64::saturating_add)
    }

    /// Whether it has the uploaded file with this hash.
    pub fn has_content(&self, hash: &[u8; 32]) -> bool {
        self.files.contains_key(&crate::media_name(hash))
    }

    /// The list as text.
    pub(crate) fn to_text(&self) -> String {
        let about = &self.about;
        let mut text = format!(
            "{FIRST}\nserver {}\nmade {}\nversion {}\nposition {}\nepoch {}\nconfiguration {}\n",
            about.server_name,
            about.made_at.0,
            about.version,
            about.position,
            about.epoch,
            about.configuration,
        );
        if let Some(key) = &about.names {
            let _ = writeln!(text, "names {}", hexadecimal(key));
        }
        for (name, file) in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "file {} {} {} {name}",
                hexadecimal(&file.hash),
                file.length,
                file.modified
            );
        }
        let end = hexadecimal(&Sha256::digest(text.as_bytes()).into());
        let _ = writeln!(text, "end {end}");
        text
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`BackupError::Manifest`] if it is not exactly as it was written, or holds a name
    /// that leads elsewhere.
    pub(crate) fn parse(text: &str) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::Manifest(what.to_owned());
        let body = text
            .strip_suffix('\n')
            .and_then(|text| text.rfind('\n'))
            .and_then(|end| text.split_at_checked(end + 1));
        let (body, last) = body.ok_or_else(|| damaged("it ends early"))?;
        let expected = hexadecimal(&Sha256::digest(body.as_bytes()).into());
        if last.trim_end().strip_prefix("end ") != Some(&expected) {
            return Err(damaged("its own hash is another, or it ends early"));
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST) {
            return Err(damaged(
                "it is of a version that this program does not know",
            ));
        }
        let mut manifest = Self::default();
        let about = &mut manifest.about;
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let number = || value.parse().map_err(|_| damaged(line));
            match key {
                "server" => value.clone_into(&mut about.server_name),
                "made" => about.made_at = Timestamp(number()?),
                "version" => value.clone_into(&mut about.version),
                "position" => about.position = number()?,
                "epoch" => about.epoch = number()?,
                "configuration" => value.clone_into(&mut about.configuration),
                "names" => {
                    let key = parse_hexadecimal(value).ok_or_else(|| damaged(line))?;
                    about.names = Some(key);
                }
                "file" => {
                    let (name, file) = parse_file(value).ok_or_else(|| damaged(line))?;
                    manifest.files.insert(name, file);
                }
                _ => return Err(damaged(line)),
            }
        }
        Ok(manifest)
    }
}

fn parse_file(line: &str) -> Option<(String, FileRecord)> {
    let mut words = line.splitn(4, ' ');
    let file = FileRecord {
        hash: parse_hexadecimal(words.next()?)?,
        length: words.next()?.parse().ok()?,
        modified: words.next()?.parse().ok()?,
    };
    let name = words.next().filter(|name| is_safe(name))?;
    Some((name.to_owned(), file))
}

/// Whether a name in a backup stays in the folder that it is written into, and is the only one
/// of its place there.
pub(crate) fn is_safe(name: &str) -> bool {
    let mut parts = name.split('/');
    !name.contains(['\n', '\0']) && parts.all(|part| !matches!(part, "" | "." | ".."))
}

pub(crate) fn hexadecimal(hash: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn parse_hexadecimal(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (number, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    Some(hash)
}
