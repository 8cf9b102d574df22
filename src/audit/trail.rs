//! Writing the trail.

use model::{
    AuditHeadRecord, AuditRecord,
    tables::{AUDIT_BY_NAME, AUDIT_BY_NUMBER, AUDIT_HEAD},
};
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Read, StoreError};

use crate::Deed;

/// Writes deeds behind the end of the trail, in the commit that does them. To be called at most
/// once for a commit: a second call would not see the first. `now` is in ms since the Unix epoch.
///
/// # Errors
/// If the database fails.
pub fn record(
    latest: &Latest,
    batch: &mut Batch,
    now: u64,
    deeds: &[Deed],
) -> Result<(), StoreError> {
    if deeds.is_empty() {
        return Ok(());
    }
    let mut head = head(latest)?;
    for deed in deeds {
        let number = head.entries + 1;
        let entry = deed.entry(number, hexadecimal(&head.hash), now);
        let json = serde_json::to_vec(&entry)
            .map_err(|error| StoreError::Database(format!("an audit entry: {error}")))?;
        let hash = hash_of(&json);
        for name in entry.names() {
            batch.put(&AUDIT_BY_NAME, &(name.clone(), number), &());
        }
        batch.put(&AUDIT_BY_NUMBER, &number, &AuditRecord { hash, json });
        head = AuditHeadRecord {
            entries: number,
            hash,
        };
    }
    batch.put(&AUDIT_HEAD, &(), &head);
    Ok(())
}

/// The end of the trail.
///
/// # Errors
/// If the database fails.
pub fn head(view: &impl Read) -> Result<AuditHeadRecord, StoreError> {
    Ok(view.get(&AUDIT_HEAD, &())?.unwrap_or_default())
}

pub(crate) fn hash_of(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// A hash as people write it.
pub fn hexadecimal(hash: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = hash
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]));
    digits.collect()
}

/// A hash as people write it: 64 hexadecimal digits.
pub fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}
