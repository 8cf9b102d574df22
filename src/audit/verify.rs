//! Whether the trail is what was written.

use std::borrow::Cow;

use model::{
    AuditHeadRecord, AuditRecord,
    tables::{AUDIT_BY_NAME, AUDIT_BY_NUMBER},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::{Read, StoreError, Table, Value as _};

use crate::{entry::distinct, head, hexadecimal, trail::hash_of};

/// The trail's rows as bytes: damaged ones are to be named too.
const ROWS: Table<u64, Vec<u8>> = Table::new(
    AUDIT_BY_NUMBER.number,
    AUDIT_BY_NUMBER.family,
    AUDIT_BY_NUMBER.name,
);

/// What came of looking at the whole trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The end that was found: how many entries are good, and the hash of the last of them.
    pub head: AuditHeadRecord,
    /// The first thing that is wrong.
    pub broken: Option<Broken>,
}

/// The first broken link of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number of the entry.
    pub number: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The names in a line.
#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow)]
    by: Cow<'a, str>,
    #[serde(borrow, default)]
    on: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    room: Option<Cow<'a, str>>,
}

impl Names<'_> {
    fn iter(&self) -> impl Iterator<Item = &str> {
        distinct([Some(&*self.by), self.on.as_deref(), self.room.as_deref()])
    }
}

/// Adds up rows of the index in whatever order they come.
#[derive(Default, PartialEq, Eq)]
struct Sum(u128, u64);

impl Sum {
    fn add(&mut self, name: &str, number: u64) {
        let mut digest = Sha256::new();
        digest.update(number.to_be_bytes());
        digest.update(name.as_bytes());
        let hash: [u8; 32] = digest.finalize().into();
        let half = hash.first_chunk().copied().unwrap_or_default();
        self.0 = self.0.wrapping_add(u128::from_be_bytes(half));
        self.1 += 1;
    }
}

/// Goes through the whole trail, from the first entry to its end, and through the index by which
/// entries are found. `noted` is a number and the hash that somebody has noted for it elsewhere.
///
/// # Errors
/// If the database cannot be read. What is wrong with the trail is no error.
pub fn verify(view: &impl Read, noted: Option<(u64, [u8; 32])>) -> Result<Verified, StoreError> {
    let (mut good, mut expected) = (AuditHeadRecord::default(), Sum::default());
    let broken = |head, number, reason| {
        let broken = Some(Broken { number, reason });
        Ok(Verified { head, broken })
    };
    for row in view.scan(&ROWS, &()) {
        let (number, bytes) = row?;
        let next = good.entries + 1;
        if number != next {
            return broken(good, next, "the entry is missing");
        }
        let hash = match check(number, &good.hash, &bytes, &mut expected) {
            Ok(hash) => hash,
            Err(reason) => return broken(good, number, reason),
        };
        if noted.is_some_and(|(noted, known)| noted == number && known != hash) {
            return broken(
                good,
                number,
                "the entry has another hash than the one noted",
            );
        }
        good = AuditHeadRecord {
            entries: number,
            hash,
        };
    }
    match head(view) {
        Ok(head) if head == good => {}
        Ok(head) if head.entries > good.entries => {
            return broken(good, good.entries + 1, "the entry is missing");
        }
        _ => {
            let number = good.entries;
            return broken(
                good,
                number,
                "the stored end of the trail is not this entry",
            );
        }
    }
    if let Some((number, _)) = noted
        && number > good.entries
    {
        return broken(good, number, "the entry is missing");
    }
    if let Some(number) = broken_name(view, &expected)? {
        let reason = "the index does not name the entry as the entry says";
        return broken(good, number, reason);
    }
    Ok(Verified {
        head: good,
        broken: None,
    })
}

/// One entry behind the one with hash `previous`. Returns its hash.
fn check(
    number: u64,
    previous: &[u8; 32],
    bytes: &[u8],
    names: &mut Sum,
) -> Result<[u8; 32], &'static str> {
    let record = AuditRecord::decode(bytes).map_err(|_| "the entry cannot be read")?;
    let hash = hash_of(&record.json);
    if hash != record.hash {
        return Err("the entry is not what was written");
    }
    // The two first fields of a line are these, and written like this.
    let chain = format!(
        "{{\"number\":{number},\"previous\":\"{}\",",
        hexadecimal(previous)
    );
    if !record.json.starts_with(chain.as_bytes()) {
        return Err("the entry does not follow the one before it");
    }
    let found: Names<'_> =
        serde_json::from_slice(&record.json).map_err(|_| "the entry cannot be read")?;
    for name in found.iter() {
        names.add(name, number);
    }
    Ok(hash)
}

/// The number of an entry that the index does not name as it should, if there is one.
fn broken_name(view: &impl Read, expected: &Sum) -> Result<Option<u64>, StoreError> {
    let mut found = Sum::default();
    let mut rows = view.scan(&AUDIT_BY_NAME, &());
    let readable = rows.try_for_each(|row| -> Result<(), StoreError> {
        let ((name, number), ()) = row?;
        found.add(&name, number);
        Ok(())
    });
    if readable.is_ok() && found == *expected {
        return Ok(None);
    }
    // Once more, slowly, to name it.
    for row in view.scan(&AUDIT_BY_NUMBER, &()) {
        let (number, record) = row?;
        let Ok(names) = serde_json::from_slice::<Names<'_>>(&record.json) else {
            return Ok(Some(number));
        };
        for name in names.iter() {
            if !view.contains(&AUDIT_BY_NAME, &(name.to_owned(), number))? {
                return Ok(Some(number));
            }
        }
    }
    for row in view.scan(&AUDIT_BY_NAME, &()) {
        // A row that cannot be read names no entry that exists.
        let Ok(((name, number), ())) = row else {
            return Ok(Some(0));
        };
        let record = view.get(&AUDIT_BY_NUMBER, &number)?;
        let names = record
            .as_ref()
            .and_then(|record| serde_json::from_slice::<Names<'_>>(&record.json).ok());
        if !names.is_some_and(|names| names.iter().any(|known| known == name)) {
            return Ok(Some(number));
        }
    }
    Ok(Some(0))
}
