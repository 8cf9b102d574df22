//! The e-mail addresses of people (client-server API, "Adding Account Administrative Contact
//! Information"). An address belongs to one account at most, and only after its person has
//! confirmed it.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use audit::{Act, Verb};
use model::{
    EmailPurpose, EmailRecord, TokenHash, UserSerial,
    tables::{EMAIL_BY_USER, USER_BY_EMAIL},
};
use ruma_client_api::uiaa::{AuthFlow, AuthType};
use ruma_common::OwnedUserId;
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, ChangePasswordError, EmailProof, Session, audited,
    confirmations::{self, ConfirmationError},
    is_active,
};

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3).
const MAX_BYTES: usize = 254;
/// The most addresses of one account.
const MAX_ADDRESSES: usize = 20;

/// An address of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEmail {
    /// The address, in lower case.
    pub address: String,
    /// When it was confirmed, in ms since the Unix epoch.
    pub validated_at: u64,
    /// When it became the account's, in ms since the Unix epoch.
    pub added_at: u64,
}

/// Why an address was not added.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmailError {
    /// Nobody has confirmed it, or not for this (400 `M_THREEPID_AUTH_FAILED`).
    #[error("this e-mail address has not been confirmed")]
    NotConfirmed,
    /// It is another account's, or this one's already (400 `M_THREEPID_IN_USE`).
    #[error("this e-mail address belongs to an account already")]
    InUse,
    /// The account has very many (403 `M_FORBIDDEN`).
    #[error("an account has at most 20 e-mail addresses")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConfirmationError> for EmailError {
    fn from(error: ConfirmationError) -> Self {
        match error {
            ConfirmationError::InUse => Self::InUse,
            ConfirmationError::Store(error) => Self::Store(error),
            ConfirmationError::Address | ConfirmationError::NotFound => Self::NotConfirmed,
        }
    }
}

/// An address as it is stored and compared: in lower case. `None` if it is none: it has one
/// `@` with something on both sides, and nothing that is not seen.
pub fn canonical_email(typed: &str) -> Option<String> {
    let email = typed.trim().to_lowercase();
    let (name, domain) = email.rsplit_once('@')?;
    let is_visible = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let is_one = !name.is_empty()
        && !name.contains('@')
        && !domain.is_empty()
        && !domain.starts_with('.')
        && email.len() <= MAX_BYTES
        && email.chars().all(is_visible)
        && !email.contains(['<', '>', ',', ';']);
    is_one.then_some(email)
}

/// The addresses of an account.
///
/// # Errors
/// If the database fails.
pub fn emails(view: &impl Read, user: UserSerial) -> Result<Vec<OwnEmail>, StoreError> {
    view.scan(&EMAIL_BY_USER, &(user,))
        .map(|row| {
            let ((_, address), record) = row?;
            Ok(OwnEmail {
                address,
                validated_at: record.validated_at,
                added_at: record.added_at,
            })
        })
        .collect()
}

impl Accounts {
    /// Says that e-mail can be sent: people can confirm addresses from now on.
    pub fn offer_email(&self) {
        self.inner.has_mail.store(true, Ordering::Relaxed);
    }

    /// Whether people can confirm e-mail addresses.
    pub fn offers_email(&self) -> bool {
        self.inner.has_mail.load(Ordering::Relaxed)
    }

    /// How somebody who has forgotten the password proves who they are; no way if no e-mail
    /// can be sent.
    pub fn reset_flows(&self) -> Vec<AuthFlow> {
        let flow = || AuthFlow::new(vec![AuthType::EmailIdentity]);
        self.offers_email().then(flow).into_iter().collect()
    }

    /// Adds the confirmed address to the session's account (`POST /account/3pid/add`), whose
    /// user has proved anew who they are.
    ///
    /// # Errors
    /// [`EmailError`].
    pub async fn add_email(&self, session: &Session, proof: EmailProof) -> Result<(), EmailError> {
        let (user, now) = (session.user, self.now());
        if proof.user.is_some_and(|asked| asked != user) {
            return Err(EmailError::NotConfirmed);
        }
        self.store()
            .commit(move |latest, _, batch| {
                adopt(latest, batch, &proof.id, EmailPurpose::Add, user, now)
            })
            .await
    }

    /// Gives an account these addresses in the name of an administrator, who vouches for them, and
    /// takes all others away.
    ///
    /// # Errors
    /// [`EmailError`]; then nothing was changed.
    pub async fn replace_emails(
        &self,
        act: &Act,
        user: UserSerial,
        typed: Vec<String>,
    ) -> Result<(), EmailError> {
        let wanted: BTreeSet<String> = typed
            .iter()
            .map(|typed| canonical_email(typed).ok_or(EmailError::NotConfirmed))
            .collect::<Result<_, _>>()?;
        if wanted.len() > MAX_ADDRESSES {
            return Err(EmailError::TooMany);
        }
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                let known: BTreeSet<String> = emails(latest, user)?
                    .into_iter()
                    .map(|email| email.address)
                    .collect();
                for email in known.difference(&wanted) {
                    batch.delete(&USER_BY_EMAIL, email);
                    batch.delete(&EMAIL_BY_USER, &(user, email.clone()));
                }
                for email in wanted.difference(&known) {
                    if owner(latest, email)?.is_some() {
                        return Err(EmailError::InUse);
                    }
                    let record = EmailRecord {
                        validated_at: now,
                        added_at: now,
                    };
                    batch.put(&USER_BY_EMAIL, email, &user);
                    batch.put(&EMAIL_BY_USER, &(user, email.clone()), &record);
                }
                let deed = audited::deed(latest, &act, Verb::EmailsChanged, user)?
                    .before(json!(known))
                    .after(json!(wanted));
                audit::record(latest, batch, now, &[deed])?;
                Ok(())
            })
            .await
    }

    /// Takes an address away from the session's account; nothing happens if it does not have
    /// it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_email(&self, session: &Session, typed: &str) -> Result<(), StoreError> {
        let Some(email) = canonical_email(typed) else {
            return Ok(());
        };
        let user = session.user;
        self.store()
            .commit(move |latest, _, batch| {
                if latest.get(&USER_BY_EMAIL, &email)? == Some(user) {
                    batch.delete(&USER_BY_EMAIL, &email);
                    batch.delete(&EMAIL_BY_USER, &(user, email));
                }
                Ok(())
            })
            .await
    }

    /// The user who has that address; none if nobody has.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user_of_email(&self, typed: &str) -> Result<Option<OwnedUserId>, StoreError> {
        let Some(email) = canonical_email(typed) else {
            return Ok(None);
        };
        self.store()
            .read(move |view| {
                let Some(user) = view.get(&USER_BY_EMAIL, &email)? else {
                    return Ok(None);
                };
                let user_id = model::user_id(view, user)?;
                Ok(user_id.and_then(|user_id| OwnedUserId::try_from(user_id).ok()))
            })
            .await
    }

    /// Sets the password of the account that has the confirmed address. `logout_devices`
    /// signs all devices out.
    ///
    /// # Errors
    /// [`ChangePasswordError`].
    pub async fn reset_password_by_email(
        &self,
        from: Option<String>,
        proof: EmailProof,
        new_password: String,
        logout_devices: bool,
    ) -> Result<(), ChangePasswordError> {
        let user = proof.user.ok_or(ChangePasswordError::NotConfirmed)?;
        let logout = logout_devices.then_some(None);
        let read = move |view: &store::Snapshot| model::user_id(view, user);
        let user_id: Option<String> = self.store().read(read).await?;
        let act = audit::Act::person(user_id.unwrap_or_default(), from);
        self.set_password(&act, user, new_password, logout, Some(proof.id))
            .await
    }
}

/// Gives a confirmed address to a user, and ends the confirmation.
///
/// # Errors
/// [`EmailError`].
pub(crate) fn adopt(
    latest: &Latest,
    batch: &mut Batch,
    id: &TokenHash,
    purpose: EmailPurpose,
    user: UserSerial,
    now: u64,
) -> Result<(), EmailError> {
    let confirmed = confirmations::take(latest, batch, id, purpose, now)?;
    let (email, validated_at) = confirmed.ok_or(EmailError::NotConfirmed)?;
    if owner(latest, &email)?.is_some() {
        return Err(EmailError::InUse);
    }
    if latest
        .scan(&EMAIL_BY_USER, &(user,))
        .take(MAX_ADDRESSES)
        .count()
        == MAX_ADDRESSES
    {
        return Err(EmailError::TooMany);
    }
    let record = EmailRecord {
        validated_at,
        added_at: now,
    };
    batch.put(&EMAIL_BY_USER, &(user, email.clone()), &record);
    batch.put(&USER_BY_EMAIL, &email, &user);
    Ok(())
}

/// Whose account an address belongs to.
pub(crate) fn owner(view: &impl Read, email: &str) -> Result<Option<UserSerial>, StoreError> {
    match view.get(&USER_BY_EMAIL, &email.to_owned())? {
        Some(user) if is_active(view, user)? => Ok(Some(user)),
        _ => Ok(None),
    }
}

/// Takes away all addresses of an account that is closed.
pub(crate) fn remove_all(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
) -> Result<(), StoreError> {
    for email in emails(latest, user)? {
        batch.delete(&USER_BY_EMAIL, &email.address);
    }
    batch.delete_prefix(&EMAIL_BY_USER, &(user,));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_lower_case() {
        for (typed, expected) in [
            ("Anna@Example.ORG", Some("anna@example.org")),
            (" anna@example.org\n", Some("anna@example.org")),
            ("ANNA.BERG+x@ä.example", Some("anna.berg+x@ä.example")),
            ("anna", None),
            ("@example.org", None),
            ("anna@", None),
            ("anna@.example", None),
            ("a@b@c.example", None),
            ("a b@example.org", None),
            ("a@example.org\r\nBcc: b@example.org", None),
            ("<a@example.org>", None),
            ("a@example.org,b@example.org", None),
        ] {
            assert_eq!(canonical_email(typed).as_deref(), expected, "{typed}");
        }
        let long = format!("{}@example.org", "a".repeat(250));
        assert_eq!(canonical_email(&long), None);
    }
}
