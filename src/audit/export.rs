//! A copy of the trail for others: the lines as they were written, and behind them one line that
//! this server has signed.
//!
//! The last line names the number and the hash of the line before it. As each line names the
//! hash of its predecessor, the one signature covers all of them.

use std::io;

use graph::{SigningKey, canonical, canonical_text, verify_json};
use model::AuditHeadRecord;
use ruma_common::ServerName;
use serde::Deserialize;
use serde_json::json;

use crate::{hexadecimal, parse_hash, trail::hash_of};

/// How deep the last line's JSON may be.
const MAX_DEPTH: usize = 8;

/// Why a copy is not what a server has signed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line does not follow the one before it.
    #[error("entry {number} does not follow the one before it")]
    Chain {
        /// Which line.
        number: u64,
    },
    /// There is no signed line at its end.
    #[error("the file does not end with a signed line")]
    NoStatement,
    /// The signed line speaks of another end.
    #[error("the signed line speaks of {signed} entries, and the file has {found}, or others")]
    OtherEnd {
        /// How many are signed.
        signed: u64,
        /// How many are there.
        found: u64,
    },
    /// The signature is not valid, or of somebody else.
    #[error("the signature is not valid: {0}")]
    Signature(String),
}

/// A copy that is what a server has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFile {
    /// The server.
    pub server: String,
    /// The end of the trail that it signed.
    pub head: AuditHeadRecord,
    /// When it signed that, in ms since the Unix epoch.
    pub at: u64,
    /// With which key.
    pub key_id: String,
}

#[derive(Deserialize)]
struct Statement {
    server: String,
    entries: u64,
    hash: String,
    at: u64,
}

/// The last line of a copy: the server's word for the trail up to `head`.
///
/// # Errors
/// If it cannot be signed.
pub fn statement(
    head: &AuditHeadRecord,
    server: &ServerName,
    at: u64,
    key: &SigningKey,
) -> Result<String, graph::Reason> {
    let said = json!({
        "server": server.as_str(),
        "entries": head.entries,
        "hash": hexadecimal(&head.hash),
        "at": at,
    });
    let mut object = canonical(said.to_string().as_bytes(), MAX_DEPTH)?;
    key.sign_json(server, &mut object)?;
    canonical_text(&object)
}

/// Checks a copy line by line, with `key`, the public key of the server that made it in base64.
///
/// # Errors
/// [`FileError`], which names the first line that is wrong.
pub fn check_file(
    lines: impl Iterator<Item = io::Result<String>>,
    key: &str,
) -> Result<CheckedFile, FileError> {
    let mut head = AuditHeadRecord::default();
    let mut last = None;
    for line in lines {
        let line = line?;
        let number = head.entries + 1;
        if last.is_some() {
            return Err(FileError::Chain { number });
        }
        if line.starts_with("{\"number\":") {
            let previous = hexadecimal(&head.hash);
            let chain = format!("{{\"number\":{number},\"previous\":\"{previous}\",");
            if !line.starts_with(&chain) {
                return Err(FileError::Chain { number });
            }
            head = AuditHeadRecord {
                entries: number,
                hash: hash_of(line.as_bytes()),
            };
        } else {
            last = Some(line);
        }
    }
    let last = last.ok_or(FileError::NoStatement)?;
    let said: Statement = serde_json::from_str(&last).map_err(|_| FileError::NoStatement)?;
    let object = canonical(last.as_bytes(), MAX_DEPTH).map_err(|_| FileError::NoStatement)?;
    let key_id = key_id(&last, &said.server).ok_or(FileError::NoStatement)?;
    verify_json(&said.server, &key_id, key, &object)
        .map_err(|error| FileError::Signature(error.to_string()))?;
    if said.entries != head.entries || parse_hash(&said.hash) != Some(head.hash) {
        return Err(FileError::OtherEnd {
            signed: said.entries,
            found: head.entries,
        });
    }
    Ok(CheckedFile {
        server: said.server,
        head,
        at: said.at,
        key_id,
    })
}

/// The id of the one key that has signed.
fn key_id(line: &str, server: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let keys = value["signatures"][server].as_object()?;
    keys.keys().next().cloned()
}
