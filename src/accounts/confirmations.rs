//! The confirmation of an e-mail address: a client asks for it, a letter with a token goes to
//! the address, and who has the letter confirms on a page (client-server API, `requestToken`
//! endpoints).
//!
//! A confirmation's id is made of what it is for, the client's secret and the address: the
//! same question has the same id, and another letter only if the client counts further. It
//! opens nothing without the client's secret.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{
    ConfirmationRecord, EmailPurpose, TokenHash, UserSerial,
    tables::{CONFIRMATION_BY_END, CONFIRMATION_BY_ID},
};
use ruma_common::OwnedUserId;
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Read, StoreError};

use crate::{Accounts, EmailError, canonical_email, emails, tokens::token_hash};

/// How long the token of a letter works; and, once the person has confirmed, how long the
/// client has to go on.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// How many confirmations that have ended are removed with each new one.
const REMOVED: usize = 20;
/// The longest link to where the person goes on, in bytes.
const MAX_LINK_BYTES: usize = 2_000;

/// An address that is to be confirmed.
#[derive(Clone, Debug)]
pub struct NewConfirmation {
    /// What for.
    pub purpose: EmailPurpose,
    /// The address, as typed.
    pub email: String,
    /// The client's secret.
    pub client_secret: String,
    /// The client's count of the letters that it wants.
    pub send_attempt: u64,
    /// Where the person goes on afterwards: `http://` or `https://`, everything else is
    /// left out.
    pub next_link: Option<String>,
    /// Who asks, if that is known.
    pub user: Option<UserSerial>,
}

/// A confirmation that is under way.
#[derive(Clone, Debug)]
pub struct BegunConfirmation {
    /// Its id, for the client.
    pub id: String,
    /// The letter to be sent; none if one was sent for this attempt.
    pub letter: Option<NewLetter>,
}

/// What the letter is to say.
#[derive(Clone, Debug)]
pub struct NewLetter {
    /// To whom.
    pub email: String,
    /// The token, which stands nowhere else.
    pub token: String,
    /// What for.
    pub purpose: EmailPurpose,
    /// Whose account it is about, if there is one.
    pub user_id: Option<OwnedUserId>,
    /// How long the token works.
    pub lifetime: Duration,
}

/// A confirmation as its page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// What for.
    pub purpose: EmailPurpose,
    /// The address.
    pub email: String,
    /// Whose account it is about, if there is one.
    pub user_id: Option<OwnedUserId>,
    /// Where the person goes on afterwards.
    pub next_link: Option<String>,
    /// Whether it is confirmed.
    pub is_confirmed: bool,
}

/// A confirmation that was valid a moment ago. Using it decides.
#[derive(Clone, Copy, Debug)]
pub struct EmailProof {
    pub(crate) id: TokenHash,
    /// Who asked, or has the address.
    pub(crate) user: Option<UserSerial>,
}

/// Why an address cannot be confirmed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// It is none (400 `M_INVALID_PARAM`).
    #[error("this is no e-mail address")]
    Address,
    /// It belongs to an account (400 `M_THREEPID_IN_USE`).
    #[error("this e-mail address belongs to an account already")]
    InUse,
    /// It belongs to no account (400 `M_THREEPID_NOT_FOUND`).
    #[error("this e-mail address belongs to no account")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Begins the confirmation of an address, or goes on with the one that the same client
    /// has begun. The letter, if there is one, is for the caller to send.
    ///
    /// # Errors
    /// [`ConfirmationError`].
    pub async fn begin_confirmation(
        &self,
        new: NewConfirmation,
    ) -> Result<BegunConfirmation, ConfirmationError> {
        let email = canonical_email(&new.email).ok_or(ConfirmationError::Address)?;
        let id = id_of(new.purpose, &new.client_secret, &email);
        let (token, now) = (self.inner.random.token(), self.now());
        let record = ConfirmationRecord {
            purpose: new.purpose,
            secret: token_hash(&new.client_secret),
            user: new.user,
            send_attempt: new.send_attempt,
            token: token_hash(&token),
            next_link: new.next_link.filter(|link| is_link(link)),
            expires_at: self.inner.clock.now().plus(LIFETIME).0,
            confirmed_at: None,
            email,
        };
        let letter = NewLetter {
            email: record.email.clone(),
            token,
            purpose: record.purpose,
            user_id: None,
            lifetime: LIFETIME,
        };
        self.forget_ended(now).await?;
        let about = self
            .store()
            .commit(move |latest, _, batch| begin(latest, batch, id, record, now))
            .await?;
        let letter = match about {
            None => None,
            Some(user) => Some(NewLetter {
                user_id: self.user_id_of(user).await?,
                ..letter
            }),
        };
        Ok(BegunConfirmation {
            id: URL_SAFE_NO_PAD.encode(id),
            letter,
        })
    }

    /// Forgets a confirmation whose letter could not be sent: the client may ask again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_confirmation(&self, id: &str, token: &str) -> Result<(), StoreError> {
        let (Some(id), token) = (decoded(id), token_hash(token)) else {
            return Ok(());
        };
        self.store()
            .commit(move |latest, _, batch| {
                let known = latest.get(&CONFIRMATION_BY_ID, &id)?;
                if let Some(known) = known.filter(|known| known.token == token) {
                    delete(batch, &id, &known);
                }
                Ok(())
            })
            .await
    }

    /// The confirmation to which a letter's link leads; none if the link is not whole or too
    /// old. Changes nothing: programs that look for harm in mail open links too.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn confirmation(
        &self,
        id: &str,
        token: &str,
    ) -> Result<Option<Confirmation>, StoreError> {
        let (Some(id), token, now) = (decoded(id), token_hash(token), self.now()) else {
            return Ok(None);
        };
        let found = self
            .store()
            .read(move |view| alive(view, &id, now))
            .await?
            .filter(|record| record.token == token);
        match found {
            None => Ok(None),
            Some(record) => Ok(Some(self.shown(record).await?)),
        }
    }

    /// The person who has the letter confirms. `None` as for
    /// [`confirmation`](Self::confirmation).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn confirm(&self, id: &str, token: &str) -> Result<Option<Confirmation>, StoreError> {
        let (Some(id), token, now) = (decoded(id), token_hash(token), self.now()) else {
            return Ok(None);
        };
        let expires_at = self.inner.clock.now().plus(LIFETIME).0;
        let confirmed = self
            .store()
            .commit(move |latest, _, batch| {
                let found = alive(latest, &id, now)?;
                let Some(mut record) = found.filter(|record| record.token == token) else {
                    return Ok(None);
                };
                if record.confirmed_at.is_none() {
                    delete(batch, &id, &record);
                    record.confirmed_at = Some(now);
                    record.expires_at = expires_at;
                    put(batch, &id, &record);
                }
                Ok::<_, StoreError>(Some(record))
            })
            .await?;
        match confirmed {
            None => Ok(None),
            Some(record) => Ok(Some(self.shown(record).await?)),
        }
    }

    /// What a client has that says that it knows a confirmation: none if it does not, or
    /// nobody has confirmed yet.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn prove_email(
        &self,
        id: &str,
        client_secret: &str,
    ) -> Result<Option<EmailProof>, StoreError> {
        let (Some(id), secret, now) = (decoded(id), token_hash(client_secret), self.now()) else {
            return Ok(None);
        };
        let found = self.store().read(move |view| alive(view, &id, now)).await?;
        let confirmed =
            found.filter(|record| record.secret == secret && record.confirmed_at.is_some());
        Ok(confirmed.map(|record| EmailProof {
            id,
            user: record.user,
        }))
    }

    async fn shown(&self, record: ConfirmationRecord) -> Result<Confirmation, StoreError> {
        Ok(Confirmation {
            user_id: self.user_id_of(record.user).await?,
            purpose: record.purpose,
            email: record.email,
            next_link: record.next_link,
            is_confirmed: record.confirmed_at.is_some(),
        })
    }

    async fn user_id_of(
        &self,
        user: Option<UserSerial>,
    ) -> Result<Option<OwnedUserId>, StoreError> {
        let Some(user) = user else {
            return Ok(None);
        };
        let user_id = self.store().read(move |view| model::user_id(view, user));
        let user_id: Option<String> = user_id.await?;
        Ok(user_id.and_then(|user_id| OwnedUserId::try_from(user_id).ok()))
    }

    /// Removes some confirmations that have ended.
    async fn forget_ended(&self, now: u64) -> Result<(), StoreError> {
        let ended = self
            .store()
            .read(move |view| {
                view.scan(&CONFIRMATION_BY_END, &())
                    .take(REMOVED)
                    .map(|row| row.map(|(key, ())| key))
                    .filter(|key| key.as_ref().map_or(true, |(end, _)| *end <= now))
                    .collect::<Result<Vec<(u64, TokenHash)>, StoreError>>()
            })
            .await?;
        if ended.is_empty() {
            return Ok(());
        }
        self.store()
            .commit_later(move |latest, _, batch| {
                for (end, id) in &ended {
                    batch.delete(&CONFIRMATION_BY_END, &(*end, *id));
                    // The same client may have begun again meanwhile.
                    let known = latest.get(&CONFIRMATION_BY_ID, id)?;
                    if known.is_some_and(|known| known.expires_at == *end) {
                        batch.delete(&CONFIRMATION_BY_ID, id);
                    }
                }
                Ok::<_, StoreError>(())
            })
            .await
    }
}

/// Writes a confirmation, if a letter is to be sent. Returns whose account the letter is
/// about; none if there is no letter.
fn begin(
    latest: &Latest,
    batch: &mut Batch,
    id: TokenHash,
    mut record: ConfirmationRecord,
    now: u64,
) -> Result<Option<Option<UserSerial>>, ConfirmationError> {
    let owner = emails::owner(latest, &record.email)?;
    match record.purpose {
        EmailPurpose::Add | EmailPurpose::Register if owner.is_some() => {
            return Err(ConfirmationError::InUse);
        }
        EmailPurpose::Add | EmailPurpose::Register => {}
        EmailPurpose::ResetPassword => {
            record.user = Some(owner.ok_or(ConfirmationError::NotFound)?);
        }
    }
    if let Some(known) = latest.get(&CONFIRMATION_BY_ID, &id)? {
        let is_alive = known.expires_at > now && known.user == record.user;
        let is_enough = known.confirmed_at.is_some() || record.send_attempt <= known.send_attempt;
        if is_alive && is_enough {
            return Ok(None);
        }
        delete(batch, &id, &known);
    }
    put(batch, &id, &record);
    Ok(Some(record.user))
}

/// Ends a confirmed confirmation that is of use now; none if it is not. Returns the address
/// and when it was confirmed.
pub(crate) fn take(
    latest: &Latest,
    batch: &mut Batch,
    id: &TokenHash,
    purpose: EmailPurpose,
    now: u64,
) -> Result<Option<(String, u64)>, StoreError> {
    let Some(record) = alive(latest, id, now)?.filter(|record| record.purpose == purpose) else {
        return Ok(None);
    };
    let Some(confirmed_at) = record.confirmed_at else {
        return Ok(None);
    };
    delete(batch, id, &record);
    Ok(Some((record.email, confirmed_at)))
}

/// Ends the confirmation with which a user resets the password.
///
/// # Errors
/// [`EmailError::NotConfirmed`] if it is over, or the address is not the user's any more.
pub(crate) fn take_for_reset(
    latest: &Latest,
    batch: &mut Batch,
    id: &TokenHash,
    user: UserSerial,
    now: u64,
) -> Result<(), EmailError> {
    let taken = take(latest, batch, id, EmailPurpose::ResetPassword, now)?;
    let (email, _) = taken.ok_or(EmailError::NotConfirmed)?;
    if emails::owner(latest, &email)? != Some(user) {
        return Err(EmailError::NotConfirmed);
    }
    Ok(())
}

fn alive(
    view: &impl Read,
    id: &TokenHash,
    now: u64,
) -> Result<Option<ConfirmationRecord>, StoreError> {
    let record = view.get(&CONFIRMATION_BY_ID, id)?;
    Ok(record.filter(|record| record.expires_at > now))
}

fn put(batch: &mut Batch, id: &TokenHash, record: &ConfirmationRecord) {
    batch.put(&CONFIRMATION_BY_ID, id, record);
    batch.put(&CONFIRMATION_BY_END, &(record.expires_at, *id), &());
}

fn delete(batch: &mut Batch, id: &TokenHash, record: &ConfirmationRecord) {
    batch.delete(&CONFIRMATION_BY_ID, id);
    batch.delete(&CONFIRMATION_BY_END, &(record.expires_at, *id));
}

fn id_of(purpose: EmailPurpose, client_secret: &str, email: &str) -> TokenHash {
    let purpose = match purpose {
        EmailPurpose::Add => "add",
        EmailPurpose::Register => "register",
        EmailPurpose::ResetPassword => "reset password",
    };
    let mut hasher = Sha256::new();
    for part in ["confirmation", purpose, client_secret, email] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

fn decoded(id: &str) -> Option<TokenHash> {
    URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()
}

/// Whether a browser can be sent there.
fn is_link(link: &str) -> bool {
    let is_web = |url: url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    link.len() <= MAX_LINK_BYTES && url::Url::parse(link).is_ok_and(is_web)
}
