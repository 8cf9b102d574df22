//! Invitations: tokens with which people register (`m.login.registration_token`).

use audit::{Act, Verb};
use model::{InvitationRecord, TokenHash, UserSerial, tables::INVITATION_BY_HASH};
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

use crate::{Accounts, InvitationProof, tokens::token_hash};

/// How many characters of a token name its invitation.
const NAME_CHARACTERS: usize = 8;
/// How many invitations are made at once.
const MOST_AT_ONCE: usize = 500;

/// Why nothing can be done with an invitation.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InvitationError {
    /// There is none of that name or token that can still be used.
    #[error("there is no such invitation")]
    NotFound,
    /// More were asked for than are made at once.
    #[error("at most {} invitations are made at once", MOST_AT_ONCE)]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An invitation that is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewInvitation {
    /// How many accounts may be made with it; no limit if `None`.
    pub uses_allowed: Option<u32>,
    /// When it ends, in ms since the Unix epoch; never if `None`.
    pub expires_at: Option<u64>,
    /// The administrator who makes it; the command line if `None`.
    pub created_by: Option<UserSerial>,
}

/// An invitation as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The first characters of its token. The token itself is not known.
    pub name: String,
    /// How many accounts may be made with it.
    pub uses_allowed: Option<u32>,
    /// How many were made.
    pub uses: u32,
    /// When it was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: Option<u64>,
    /// Who made it.
    pub created_by: Option<UserSerial>,
    /// Whether somebody can still register with it.
    pub is_valid: bool,
}

fn is_valid(record: &InvitationRecord, now: u64) -> bool {
    let left = record
        .uses_allowed
        .is_none_or(|allowed| record.uses < allowed);
    left && record.expires_at.is_none_or(|end| now < end)
}

/// Uses an invitation once, if it can still be used.
pub(crate) fn use_up(
    latest: &Latest,
    batch: &mut Batch,
    hash: &TokenHash,
    now: u64,
) -> Result<(), InvitationError> {
    let record = latest.get(&INVITATION_BY_HASH, hash)?;
    let Some(mut record) = record.filter(|record| is_valid(record, now)) else {
        return Err(InvitationError::NotFound);
    };
    record.uses += 1;
    batch.put(&INVITATION_BY_HASH, hash, &record);
    Ok(())
}

impl Accounts {
    /// Makes an invitation and returns its token, which cannot be shown again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn create_invitation(
        &self,
        act: &Act,
        new: NewInvitation,
    ) -> Result<String, StoreError> {
        let token = self.draw_invitation_token();
        self.write_invitations(act, &new, std::slice::from_ref(&token))
            .await?;
        Ok(token)
    }

    /// Makes `count` invitations that are alike, all or none, and returns their tokens, which cannot be shown again.
    ///
    /// # Errors
    /// [`InvitationError::TooMany`] for more than 500.
    pub async fn create_invitations(
        &self,
        act: &Act,
        new: NewInvitation,
        count: usize,
    ) -> Result<Vec<String>, InvitationError> {
        if count > MOST_AT_ONCE {
            return Err(InvitationError::TooMany);
        }
        let tokens: Vec<String> = (0..count).map(|_| self.draw_invitation_token()).collect();
        self.write_invitations(act, &new, &tokens).await?;
        Ok(tokens)
    }

    fn draw_invitation_token(&self) -> String {
        loop {
            let token = self.inner.random.token();
            // One that begins with "-" would look like an option on a command line.
            if token.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                return token;
            }
        }
    }

    async fn write_invitations(
        &self,
        act: &Act,
        new: &NewInvitation,
        tokens: &[String],
    ) -> Result<(), StoreError> {
        let created_at = self.now();
        let record = |token: &String| InvitationRecord {
            name: token.chars().take(NAME_CHARACTERS).collect(),
            uses_allowed: new.uses_allowed,
            uses: 0,
            created_at,
            expires_at: new.expires_at,
            created_by: new.created_by,
        };
        let rows: Vec<(TokenHash, InvitationRecord)> = tokens
            .iter()
            .map(|token| (token_hash(token), record(token)))
            .collect();
        let names: Vec<&str> = rows
            .iter()
            .map(|(_, record)| record.name.as_str())
            .collect();
        let deed = act.did(Verb::InvitationsCreated).after(json!({
            "invitations": names,
            "uses": new.uses_allowed,
            "expires_at": new.expires_at,
        }));
        self.store()
            .commit(move |latest, _, batch| {
                for (hash, record) in &rows {
                    batch.put(&INVITATION_BY_HASH, hash, record);
                }
                audit::record(latest, batch, created_at, &[deed])?;
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// All invitations, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, StoreError> {
        let now = self.now();
        let list = |view: &store::Snapshot| -> Result<Vec<_>, StoreError> {
            view.scan(&INVITATION_BY_HASH, &())
                .map(|row| row.map(|(_, record)| record))
                .collect()
        };
        let mut records: Vec<InvitationRecord> = self.store().read_long(list).await?;
        records.sort_by_key(|record| record.created_at);
        let invitations = records.into_iter().map(|record| Invitation {
            is_valid: is_valid(&record, now),
            name: record.name,
            uses_allowed: record.uses_allowed,
            uses: record.uses,
            created_at: record.created_at,
            expires_at: record.expires_at,
            created_by: record.created_by,
        });
        Ok(invitations.collect())
    }

    /// Ends an invitation, given by its token or its name.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub async fn revoke_invitation(
        &self,
        act: &Act,
        token_or_name: &str,
    ) -> Result<(), InvitationError> {
        let (now, act) = (self.now(), act.clone());
        let (hash, name) = (token_hash(token_or_name), token_or_name.to_owned());
        let hash = self
            .store()
            .read_long(move |view| find(view, hash, &name))
            .await?
            .ok_or(InvitationError::NotFound)?;
        self.store()
            .commit(move |latest, _, batch| {
                let record = latest.get(&INVITATION_BY_HASH, &hash)?;
                let record = record.ok_or(InvitationError::NotFound)?;
                batch.delete(&INVITATION_BY_HASH, &hash);
                let deed = act.did(Verb::InvitationRevoked).before(json!({
                    "invitation": record.name,
                    "uses": record.uses,
                }));
                audit::record(latest, batch, now, &[deed])?;
                Ok(())
            })
            .await
    }

    /// Whether somebody could register with this token now (`GET /register/m.login.registration_token/validity`).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_invitation_valid(&self, token: &str) -> Result<bool, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        self.store()
            .read(move |view| {
                let record = view.get(&INVITATION_BY_HASH, &hash)?;
                Ok(record.is_some_and(|record| is_valid(&record, now)))
            })
            .await
    }

    /// The proof that somebody holds an invitation that can be used now, for [`Accounts::register`]; none if it cannot.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn prove_invitation(
        &self,
        token: &str,
    ) -> Result<Option<InvitationProof>, StoreError> {
        let is_valid = self.is_invitation_valid(token).await?;
        Ok(is_valid.then(|| InvitationProof(token_hash(token))))
    }
}

/// The hash of the one invitation with that token or name.
fn find(view: &impl Read, hash: TokenHash, name: &str) -> Result<Option<TokenHash>, StoreError> {
    if view.contains(&INVITATION_BY_HASH, &hash)? {
        return Ok(Some(hash));
    }
    for row in view.scan(&INVITATION_BY_HASH, &()) {
        let (hash, record) = row?;
        if record.name == name {
            return Ok(Some(hash));
        }
    }
    Ok(None)
}
