//! Invitations: tokens with which people register (`m.login.registration_token`).

use audit::{Act, Verb};
use model::{
    Changes, InvitationRecord, LogEntry, PersonRecord, TokenHash, UserSerial,
    tables::{INVITATION_BY_HASH, PASSWORD_BY_USER, STANDING_BY_USER},
};
use ruma_common::OwnedUserId;
use runtime::LaneError;
use serde_json::json;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{
    Accounts, InvitationProof, PasswordError, audited, display_name_and_avatar, emails,
    invitation_lists::{find, put, remove},
    is_active,
    person::{self, person},
    standing,
    tokens::token_hash,
};

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
    let is_for_new = |record: &InvitationRecord| record.user.is_none() && is_valid(record, now);
    let Some(mut record) = record.filter(is_for_new) else {
        return Err(InvitationError::NotFound);
    };
    record.uses += 1;
    batch.put(&INVITATION_BY_HASH, hash, &record);
    Ok(())
}

/// An invitation as it is shown.
pub(crate) fn shown(record: InvitationRecord, now: u64) -> Invitation {
    Invitation {
        is_valid: is_valid(&record, now),
        name: record.name,
        uses_allowed: record.uses_allowed,
        uses: record.uses,
        created_at: record.created_at,
        expires_at: record.expires_at,
        created_by: record.created_by,
    }
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
            user: None,
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
                    put(batch, hash, record);
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
        Ok(records
            .into_iter()
            .map(|record| shown(record, now))
            .collect())
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
            .read(move |view| find(view, hash, &name))
            .await?
            .ok_or(InvitationError::NotFound)?;
        self.store()
            .commit(move |latest, _, batch| {
                let record = remove(latest, batch, &hash)?;
                let record = record.ok_or(InvitationError::NotFound)?;
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
                let is_for_new = record.filter(|record| record.user.is_none());
                Ok(is_for_new.is_some_and(|record| is_valid(&record, now)))
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

/// To what somebody with an invitation is invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitedTo {
    /// To make an account.
    Register,
    /// To choose the first password of an account that was made for them.
    Account {
        /// The account's user id.
        user_id: OwnedUserId,
        /// The name that the person goes by.
        display_name: Option<String>,
    },
}

/// Why somebody has not taken the account that was made for them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// The invitation cannot be used, or not any more.
    #[error("this invitation is not valid, or was used already")]
    Invitation,
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Too many passwords wait to be hashed; later it may work.
    #[error("too many people register at the same time")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LaneError> for AcceptError {
    fn from(_: LaneError) -> Self {
        Self::Busy
    }
}

/// An invitation of a person whose account is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonInvitation {
    /// The account.
    pub user: UserSerial,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The name that the person goes by.
    pub display_name: Option<String>,
    /// An address to write to.
    pub email: Option<String>,
    /// The token, which cannot be shown again.
    pub token: String,
}

/// Whether somebody has never chosen a password and has no invitation by which to do so.
///
/// # Errors
/// If the database fails.
pub(crate) fn needs_invitation(
    view: &impl Read,
    user: UserSerial,
    now: u64,
) -> Result<bool, StoreError> {
    if view.contains(&PASSWORD_BY_USER, &user)? {
        return Ok(false);
    }
    let person = person(view, user)?;
    let Some(hash) = person.invitation.filter(|_| person.is_invited) else {
        return Ok(true);
    };
    let record = view.get(&INVITATION_BY_HASH, &hash)?;
    Ok(record.is_none_or(|record| !is_valid(&record, now)))
}

impl Accounts {
    /// To what somebody with this token is invited; none if it is of no use.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invited_to(&self, token: &str) -> Result<Option<InvitedTo>, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        let read = move |view: &Snapshot| -> Result<Option<InvitedTo>, StoreError> {
            let record = view.get(&INVITATION_BY_HASH, &hash)?;
            let Some(record) = record.filter(|record| is_valid(record, now)) else {
                return Ok(None);
            };
            let Some(user) = record.user else {
                return Ok(Some(InvitedTo::Register));
            };
            if !is_active(view, user)? || view.contains(&PASSWORD_BY_USER, &user)? {
                return Ok(None);
            }
            let user_id = model::user_id(view, user)?;
            let user_id = user_id.and_then(|id| OwnedUserId::try_from(id).ok());
            let (display_name, _) = display_name_and_avatar(view, user)?;
            Ok(user_id.map(|user_id| InvitedTo::Account {
                user_id,
                display_name,
            }))
        };
        self.store().read(read).await
    }

    /// Gives the account that an invitation is for its first password. The invitation ends.
    ///
    /// # Errors
    /// [`AcceptError`]; then the invitation can still be used if it could before.
    pub async fn accept_invitation(
        &self,
        token: &str,
        password: String,
        from: Option<String>,
    ) -> Result<OwnedUserId, AcceptError> {
        let Some(InvitedTo::Account { user_id, .. }) = self.invited_to(token).await? else {
            return Err(AcceptError::Invitation);
        };
        self.check_new_password(&password)?;
        let password = self.inner.hasher.hash(password).await?;
        let (hash, now) = (token_hash(token), self.now());
        let act = Act::person(user_id.as_str(), from);
        let accepted = self.policies_accepted();
        self.store()
            .commit(move |latest, position, batch| {
                let record = latest.get(&INVITATION_BY_HASH, &hash)?;
                let record = record.filter(|record| is_valid(record, now));
                let user = record.and_then(|record| record.user);
                let user = user.ok_or(AcceptError::Invitation)?;
                if !is_active(latest, user)? || latest.contains(&PASSWORD_BY_USER, &user)? {
                    return Err(AcceptError::Invitation);
                }
                batch.put(&PASSWORD_BY_USER, &user, &password);
                remove(latest, batch, &hash)?;
                let before = person(latest, user)?;
                let after = PersonRecord {
                    invitation: None,
                    is_invited: false,
                    ..before.clone()
                };
                person::write(batch, user, &before, &after);
                if !accepted.is_empty() {
                    let mut standing = standing(latest, user)?;
                    standing.accepted = accepted;
                    batch.put(&STANDING_BY_USER, &user, &standing);
                }
                let deed = audited::deed(latest, &act, Verb::InvitationAccepted, user)?;
                audit::record(latest, batch, now, &[deed])?;
                Changes::at(position).log(batch, &LogEntry::Account { user });
                Ok(())
            })
            .await?;
        Ok(user_id)
    }

    /// Invites people whose accounts were made for them and who have never chosen a password;
    /// others are passed over. An earlier invitation of theirs ends.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub async fn invite_people(
        &self,
        act: &Act,
        users: Vec<UserSerial>,
        expires_at: Option<u64>,
        created_by: Option<UserSerial>,
    ) -> Result<Vec<PersonInvitation>, InvitationError> {
        if users.len() > MOST_AT_ONCE {
            return Err(InvitationError::TooMany);
        }
        let drawn: Vec<(UserSerial, String)> = users
            .into_iter()
            .map(|user| (user, self.draw_invitation_token()))
            .collect();
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                let mut invited = Vec::new();
                let mut names = Vec::new();
                for (user, token) in drawn {
                    let is_open =
                        is_active(latest, user)? && !latest.contains(&PASSWORD_BY_USER, &user)?;
                    let user_id = model::user_id(latest, user)?.filter(|_| is_open);
                    let Some(user_id) = user_id.and_then(|id| OwnedUserId::try_from(id).ok())
                    else {
                        continue;
                    };
                    let record = InvitationRecord {
                        name: token.chars().take(NAME_CHARACTERS).collect(),
                        uses_allowed: Some(1),
                        uses: 0,
                        created_at: now,
                        expires_at,
                        created_by,
                        user: Some(user),
                    };
                    let before = person(latest, user)?;
                    if let Some(earlier) = &before.invitation {
                        remove(latest, batch, earlier)?;
                    }
                    let after = PersonRecord {
                        invitation: Some(token_hash(&token)),
                        is_invited: false,
                        ..before.clone()
                    };
                    person::write(batch, user, &before, &after);
                    put(batch, &token_hash(&token), &record);
                    names.push(json!({ "invitation": record.name, "user_id": user_id }));
                    invited.push(PersonInvitation {
                        user,
                        display_name: display_name_and_avatar(latest, user)?.0,
                        email: emails(latest, user)?
                            .into_iter()
                            .next()
                            .map(|one| one.address),
                        user_id,
                        token,
                    });
                }
                if !invited.is_empty() {
                    let deed = act.did(Verb::InvitationsCreated);
                    let deed = deed.after(json!({
                        "invitations": names, "uses": 1, "expires_at": expires_at,
                    }));
                    audit::record(latest, batch, now, &[deed])?;
                }
                Ok(invited)
            })
            .await
    }

    /// Notes that these people have their invitations: they are on paper, or on their way.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invitations_given(&self, users: Vec<UserSerial>) -> Result<(), StoreError> {
        self.store()
            .commit(move |latest, _, batch| {
                for user in users {
                    let before = person(latest, user)?;
                    let after = PersonRecord {
                        is_invited: before.invitation.is_some(),
                        ..before.clone()
                    };
                    person::write(batch, user, &before, &after);
                }
                Ok(())
            })
            .await
    }
}
