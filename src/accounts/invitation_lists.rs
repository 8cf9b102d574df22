//! Where lists find invitations: by when they were made, and by the beginning of their token. The rows are written and deleted with the invitation.

use model::{
    InvitationRecord, TokenHash,
    tables::{INVITATION_BY_HASH, INVITATION_BY_NAME, INVITATION_BY_TIME},
};
use store::{Batch, Latest, Read, StoreError};

use crate::{Accounts, Invitation, invitations::shown, tokens::token_hash};

/// Writes a new invitation, and where lists find it.
pub(crate) fn put(batch: &mut Batch, hash: &TokenHash, record: &InvitationRecord) {
    batch.put(&INVITATION_BY_HASH, hash, record);
    index(batch, hash, record);
}

/// Writes where lists find an invitation.
pub(crate) fn index(batch: &mut Batch, hash: &TokenHash, record: &InvitationRecord) {
    batch.put(&INVITATION_BY_TIME, &(record.created_at, *hash), &());
    batch.put(&INVITATION_BY_NAME, &(record.name.clone(), *hash), &());
}

/// Takes an invitation away, if it is still there. Returns what it was.
pub(crate) fn remove(
    latest: &Latest,
    batch: &mut Batch,
    hash: &TokenHash,
) -> Result<Option<InvitationRecord>, StoreError> {
    let record = latest.get(&INVITATION_BY_HASH, hash)?;
    if let Some(record) = &record {
        batch.delete(&INVITATION_BY_HASH, hash);
        batch.delete(&INVITATION_BY_TIME, &(record.created_at, *hash));
        batch.delete(&INVITATION_BY_NAME, &(record.name.clone(), *hash));
    }
    Ok(record)
}

/// The place of an invitation in the list of the newest, as a text that names no token.
fn place_of(created_at: u64, hash: &TokenHash) -> String {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&hash[..8]);
    format!("{created_at:x}-{:016x}", u64::from_be_bytes(beginning))
}

/// The key of such a place.
fn parse_place(text: &str) -> Option<(u64, TokenHash)> {
    let (at, beginning) = text.split_once('-')?;
    let at = u64::from_str_radix(at, 16).ok()?;
    let beginning = u64::from_str_radix(beginning, 16).ok()?;
    let mut hash = TokenHash::default();
    hash[..8].copy_from_slice(&beginning.to_be_bytes());
    Some((at, hash))
}

impl Accounts {
    /// Invitations, the newest first, from the place `after` on, at most `limit`; and the place after which it goes on, if there are more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invitations_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Invitation>, Option<String>), StoreError> {
        let (now, after) = (self.now(), after.and_then(parse_place));
        self.store()
            .read(move |view| {
                let (mut found, mut last) = (Vec::new(), None);
                for row in view.scan_back(&INVITATION_BY_TIME, &(), after.as_ref()) {
                    let ((created_at, hash), ()) = row?;
                    if found.len() == limit {
                        return Ok((found, last));
                    }
                    let record = view.get(&INVITATION_BY_HASH, &hash)?;
                    found.extend(record.map(|record| shown(record, now)));
                    last = Some(place_of(created_at, &hash));
                }
                Ok((found, None))
            })
            .await
    }

    /// The invitation with a token or a name.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invitation(&self, token_or_name: &str) -> Result<Option<Invitation>, StoreError> {
        let (hash, name) = (token_hash(token_or_name), token_or_name.to_owned());
        let now = self.now();
        self.store()
            .read(move |view| {
                let record = match find(view, hash, &name)? {
                    Some(hash) => view.get(&INVITATION_BY_HASH, &hash)?,
                    None => None,
                };
                Ok(record.map(|record| shown(record, now)))
            })
            .await
    }
}

/// The hash of the one invitation with that token or name.
pub(crate) fn find(
    view: &impl Read,
    hash: TokenHash,
    name: &str,
) -> Result<Option<TokenHash>, StoreError> {
    if view.contains(&INVITATION_BY_HASH, &hash)? {
        return Ok(Some(hash));
    }
    let named = view.scan(&INVITATION_BY_NAME, &(name.to_owned(),)).next();
    Ok(named.transpose()?.map(|((_, hash), ())| hash))
}
