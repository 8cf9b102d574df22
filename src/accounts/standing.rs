//! What limits what an account may do (client-server API, "Account suspension", "Guest
//! Access").

use audit::{Act, Verb};
use model::{
    Changes, LogEntry, PersonRecord, StandingRecord, UserSerial,
    tables::{ACCOUNT_BY_USER, STANDING_BY_USER},
};
use store::{Read, StoreError};

use crate::{
    Accounts, AdministrationError, audited, people_lists,
    person::{self, person},
};

/// What limits an account.
///
/// # Errors
/// If the database fails.
pub fn standing(view: &impl Read, user: UserSerial) -> Result<StandingRecord, StoreError> {
    Ok(view.get(&STANDING_BY_USER, &user)?.unwrap_or_default())
}

impl Accounts {
    /// Suspends an account, or ends that: meanwhile its user reads, leaves, and takes back
    /// their own words, and says nothing; `told` is what they are told then.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_suspended(
        &self,
        act: &Act,
        user: UserSerial,
        is_suspended: bool,
        told: Option<String>,
    ) -> Result<(), AdministrationError> {
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let account = latest.get(&ACCOUNT_BY_USER, &user)?;
                let account = account.ok_or(AdministrationError::NotFound)?;
                if account.deactivated_at.is_some() {
                    return Err(AdministrationError::Deactivated);
                }
                let before = standing(latest, user)?;
                let deed = audited::deed(latest, &act, Verb::SuspensionChanged, user)?
                    .before(before.is_suspended.into())
                    .after(is_suspended.into());
                audit::record(latest, batch, now, &[deed])?;
                let standing = StandingRecord {
                    is_suspended,
                    ..before
                };
                batch.put(&STANDING_BY_USER, &user, &standing);
                people_lists::relist(latest, batch, user, |known| {
                    known.is_suspended = is_suspended;
                })?;
                let known = person(latest, user)?;
                let person = PersonRecord {
                    restraint: told.filter(|_| is_suspended),
                    ..known.clone()
                };
                person::write(batch, user, &known, &person);
                Changes::at(position).log(batch, &LogEntry::Account { user });
                Ok(())
            })
            .await
    }
}
