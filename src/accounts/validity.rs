//! Accounts that end: until when they can be used, and how the end is put off. Nothing is
//! deleted at the end; whoever's account has ended can do nothing with it until it is renewed.

use audit::{Act, Verb};
use model::{
    AccountRecord, Changes, LogEntry, PersonRecord, RenewalRecord, TokenHash, UserSerial,
    tables::{RENEWAL_BY_HASH, USER_BY_EXPIRY},
};
use ruma_common::OwnedUserId;
use serde_json::json;
use store::{Read, Snapshot, StoreError};

use crate::{
    Accounts, AdministrationError,
    administration::active,
    audited, emails, is_active,
    person::{self, person},
    tokens::token_hash,
};

/// Milliseconds of a day.
pub(crate) const DAY: u64 = 24 * 60 * 60 * 1_000;
/// The most people who are told of their accounts' ends in one go.
const MOST_TOLD: usize = 500;

/// Why an account cannot be used for a while. Nothing of it is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barrier {
    /// An administrator has locked it, and lets its person know this.
    #[error("the account is locked")]
    Locked(Option<String>),
    /// It has ended then, in ms since the Unix epoch, and was not renewed.
    #[error("the account has expired and was not renewed")]
    Expired(u64),
}

/// What keeps somebody from using their account, if anything does.
///
/// # Errors
/// If the database fails.
pub fn barrier(
    view: &impl Read,
    user: UserSerial,
    account: &AccountRecord,
    now: u64,
) -> Result<Option<Barrier>, StoreError> {
    Ok(barrier_of(account, &person(view, user)?, now))
}

pub(crate) fn barrier_of(
    account: &AccountRecord,
    person: &PersonRecord,
    now: u64,
) -> Option<Barrier> {
    if account.is_locked {
        return Some(Barrier::Locked(person.restraint.clone()));
    }
    let end = person.expires_at.filter(|end| *end <= now);
    end.map(Barrier::Expired)
}

/// Somebody whose account ends soon and who has not been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingAccount {
    /// Who.
    pub user: UserSerial,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: u64,
    /// Whether they may put that off themselves.
    pub is_renewable: bool,
    /// An address to write to.
    pub email: Option<String>,
}

/// What a link for a renewal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Whose account.
    pub user_id: OwnedUserId,
    /// When it ends, or has ended, in ms since the Unix epoch.
    pub expires_at: u64,
    /// When it would end then.
    pub renewed_until: u64,
}

impl Accounts {
    /// How many days a new account can be used; `None` if it has no end.
    pub fn validity_days(&self) -> Option<u64> {
        let days = self.inner.options.validity_days;
        (days > 0).then_some(days)
    }

    /// How many days before the end of their account people are told.
    pub fn validity_notice_days(&self) -> u64 {
        self.inner.options.validity_notice_days
    }

    /// When an account ends that is made or renewed now; never if `None`.
    pub fn default_end(&self) -> Option<u64> {
        let days = self.validity_days()?;
        Some(self.now().saturating_add(days.saturating_mul(DAY)))
    }

    /// Sets the end of an account; none if `expires_at` is `None`. Where it is renewable its
    /// person may put the end off, by a link that comes with the notice of it.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_end(
        &self,
        act: &Act,
        user: UserSerial,
        expires_at: Option<u64>,
        is_renewable: bool,
    ) -> Result<(), AdministrationError> {
        self.change_person(act, Verb::EndChanged, user, move |person| {
            let before = end_json(person);
            person.expires_at = expires_at;
            person.is_renewable = is_renewable && expires_at.is_some();
            (before, end_json(person))
        })
        .await
    }

    /// Those whose accounts end before `until` and who have not been told of that end, those
    /// first whose accounts end first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ending_accounts(&self, until: u64) -> Result<Vec<EndingAccount>, StoreError> {
        let read = move |view: &Snapshot| -> Result<Vec<EndingAccount>, StoreError> {
            let mut found = Vec::new();
            for row in view.scan(&USER_BY_EXPIRY, &()) {
                let ((expires_at, user), ()) = row?;
                if expires_at >= until || found.len() >= MOST_TOLD {
                    break;
                }
                let person = person(view, user)?;
                if person.told_of == Some(expires_at) || !is_active(view, user)? {
                    continue;
                }
                let user_id = model::user_id(view, user)?;
                let Some(user_id) = user_id.and_then(|id| OwnedUserId::try_from(id).ok()) else {
                    continue;
                };
                let email = emails(view, user)?.into_iter().next();
                found.push(EndingAccount {
                    user,
                    user_id,
                    expires_at,
                    is_renewable: person.is_renewable,
                    email: email.map(|email| email.address),
                });
            }
            Ok(found)
        };
        self.store().read_long(read).await
    }

    /// The end of one account, as [`Accounts::ending_accounts`] gives it, told before or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_of(&self, user: UserSerial) -> Result<Option<EndingAccount>, StoreError> {
        let read = move |view: &Snapshot| -> Result<Option<EndingAccount>, StoreError> {
            let person = person(view, user)?;
            let user_id = model::user_id(view, user)?;
            let user_id = user_id.and_then(|id| OwnedUserId::try_from(id).ok());
            let (Some(expires_at), Some(user_id)) = (person.expires_at, user_id) else {
                return Ok(None);
            };
            let email = emails(view, user)?.into_iter().next();
            Ok(Some(EndingAccount {
                user,
                user_id,
                expires_at,
                is_renewable: person.is_renewable,
                email: email.map(|email| email.address),
            }))
        };
        self.store().read(read).await
    }

    /// Makes a link by which the end of an account is put off, and gives its token. It works
    /// for this end alone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn make_renewal(&self, ending: &EndingAccount) -> Result<String, StoreError> {
        let token = self.inner.random.token();
        let (hash, record) = (
            token_hash(&token),
            RenewalRecord {
                user: ending.user,
                expires_at: ending.expires_at,
            },
        );
        self.store()
            .commit(move |_, _, batch| {
                batch.put(&RENEWAL_BY_HASH, &hash, &record);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(token)
    }

    /// Notes that somebody has been told of that end of their account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn told_of_end(&self, user: UserSerial, expires_at: u64) -> Result<(), StoreError> {
        self.store()
            .commit(move |latest, _, batch| {
                let before = person(latest, user)?;
                let after = PersonRecord {
                    told_of: Some(expires_at),
                    ..before.clone()
                };
                person::write(batch, user, &before, &after);
                Ok(())
            })
            .await
    }

    /// What a link for a renewal is about; `None` if it is of no use, or not any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn renewal(&self, token: &str) -> Result<Option<Renewal>, StoreError> {
        let (hash, end) = (token_hash(token), self.default_end());
        let read = move |view: &Snapshot| match end {
            Some(end) => Ok(valid(view, &hash)?.map(|(_, renewal)| Renewal {
                renewed_until: end.max(renewal.expires_at),
                ..renewal
            })),
            None => Ok(None),
        };
        self.store().read(read).await
    }

    /// Puts the end of an account off, for whoever has the link. Returns whose it is and until
    /// when it can be used now; `None` if the link is of no use.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn renew(
        &self,
        token: &str,
        from: Option<String>,
    ) -> Result<Option<Renewal>, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        let Some(end) = self.default_end() else {
            return Ok(None);
        };
        let sessions = self.inner.sessions.clone();
        self.store()
            .commit(move |latest, position, batch| {
                let Some((user, mut renewal)) = valid(latest, &hash)? else {
                    return Ok(None);
                };
                match active(latest, user) {
                    Ok(_) => {}
                    Err(AdministrationError::Store(error)) => return Err(error),
                    Err(_) => return Ok(None),
                }
                renewal.renewed_until = end.max(renewal.expires_at);
                let before = person(latest, user)?;
                let after = PersonRecord {
                    expires_at: Some(renewal.renewed_until),
                    ..before.clone()
                };
                person::write(batch, user, &before, &after);
                batch.delete(&RENEWAL_BY_HASH, &hash);
                let act = Act::person(renewal.user_id.as_str(), from);
                let deed = audited::deed(latest, &act, Verb::EndChanged, user)?
                    .before(end_json(&before))
                    .after(end_json(&after));
                audit::record(latest, batch, now, &[deed])?;
                Changes::at(position).log(batch, &LogEntry::Account { user });
                sessions.evict_user(user, position);
                Ok(Some(renewal))
            })
            .await
    }

    /// Forgets the links whose ends were put off, or came long ago.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_renewals(&self) -> Result<(), StoreError> {
        let read = |view: &Snapshot| -> Result<Vec<TokenHash>, StoreError> {
            let mut outdated = Vec::new();
            for row in view.scan(&RENEWAL_BY_HASH, &()) {
                let (hash, _) = row?;
                if valid(view, &hash)?.is_none() {
                    outdated.push(hash);
                }
            }
            Ok(outdated)
        };
        let outdated: Vec<TokenHash> = self.store().read_long(read).await?;
        if outdated.is_empty() {
            return Ok(());
        }
        self.store()
            .commit(move |_, _, batch| {
                for hash in &outdated {
                    batch.delete(&RENEWAL_BY_HASH, hash);
                }
                Ok::<_, StoreError>(())
            })
            .await
    }
}

/// The account that a link renews, if it is of use.
fn valid(view: &impl Read, hash: &TokenHash) -> Result<Option<(UserSerial, Renewal)>, StoreError> {
    let Some(record) = view.get(&RENEWAL_BY_HASH, hash)? else {
        return Ok(None);
    };
    let person = person(view, record.user)?;
    if person.expires_at != Some(record.expires_at) || !person.is_renewable {
        return Ok(None);
    }
    let user_id = model::user_id(view, record.user)?;
    let user_id = user_id.and_then(|id| OwnedUserId::try_from(id).ok());
    Ok(user_id.map(|user_id| {
        let renewal = Renewal {
            user_id,
            expires_at: record.expires_at,
            renewed_until: record.expires_at,
        };
        (record.user, renewal)
    }))
}

fn end_json(person: &PersonRecord) -> serde_json::Value {
    json!({ "expires_at": person.expires_at, "renewable": person.is_renewable })
}
