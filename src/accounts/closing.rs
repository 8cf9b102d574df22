//! Accounts that are being closed in several steps, which go on where they broke off.

use audit::{Act, Verb, Who};
use model::{
    Changes, ClosingRecord, LogEntry, UserSerial,
    tables::{ACCOUNT_BY_USER, CLOSING_BY_USER},
};
use serde_json::json;
use store::{Read as _, Snapshot, StoreError};

use crate::{Accounts, AdministrationError, administration::active, audited, people_lists};

/// How an account is to be closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Whether what the user wrote is hidden from those who join later.
    pub erase: bool,
    /// Whether rooms that the user ran alone are handed over.
    pub hands_over: bool,
    /// To whom; to the most senior member of each if `None`.
    pub to: Option<String>,
}

/// Who wanted an account closed, as the record says.
pub fn closer(record: &ClosingRecord) -> Act {
    let by = match record.by.as_str() {
        "operator" => Who::Operator,
        "server" => Who::Server,
        user_id => Who::User(user_id.to_owned()),
    };
    Act::of(by, record.from.clone()).because(record.reason.clone())
}

impl Accounts {
    /// Begins to close an account: it is locked, and what is to become of it is written down.
    /// One that is being closed already stays as it was begun.
    ///
    /// # Errors
    /// [`AdministrationError`]; [`AdministrationError::Deactivated`] if it is closed.
    pub async fn begin_closing(
        &self,
        act: &Act,
        user: UserSerial,
        closing: Closing,
    ) -> Result<ClosingRecord, AdministrationError> {
        let (now, act) = (self.now(), act.clone());
        let sessions = self.inner.sessions.clone();
        self.store()
            .commit(move |latest, position, batch| {
                if let Some(begun) = latest.get(&CLOSING_BY_USER, &user)? {
                    return Ok(begun);
                }
                let mut account = active(latest, user)?;
                // Nothing new begins in the meantime.
                account.is_locked = true;
                let record = ClosingRecord {
                    at: now,
                    by: act.by.name().to_owned(),
                    from: act.from.clone(),
                    reason: act.reason.clone(),
                    erase: closing.erase,
                    hands_over: closing.hands_over,
                    to: closing.to,
                };
                batch.put(&ACCOUNT_BY_USER, &user, &account);
                people_lists::relist(latest, batch, user, |known| {
                    people_lists::note_account(known, &account);
                })?;
                batch.put(&CLOSING_BY_USER, &user, &record);
                let deed = audited::deed(latest, &act, Verb::ClosingBegun, user)?;
                let deed = deed.after(json!({
                    "erase": record.erase, "hands_over": record.hands_over, "to": record.to,
                }));
                audit::record(latest, batch, now, &[deed])?;
                Changes::at(position).log(batch, &LogEntry::Account { user });
                sessions.evict_user(user, position);
                Ok(record)
            })
            .await
    }

    /// Notes that everything is done that closing an account takes.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_closing(&self, user: UserSerial) -> Result<(), StoreError> {
        self.store()
            .commit(move |_, _, batch| {
                batch.delete(&CLOSING_BY_USER, &user);
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// The accounts that are being closed, and how.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn closings(&self) -> Result<Vec<(UserSerial, ClosingRecord)>, StoreError> {
        let read = |view: &Snapshot| view.scan(&CLOSING_BY_USER, &()).collect();
        self.store().read_long(read).await
    }
}
