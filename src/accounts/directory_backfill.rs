//! Accounts that were made before there was a user directory: put into it once, in small
//! commits, going on where the server stopped.

use model::{
    DirectoryProgressRecord, UserSerial,
    tables::{ACCOUNT_BY_USER, DIRECTORY_PROGRESS, USER_BY_WORD},
};
use runtime::Stop;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{Accounts, account, display_name_and_avatar, guests, user_directory::words_of};

/// How many accounts one commit looks at.
const AT_ONCE: usize = 100;

impl Accounts {
    /// Puts those accounts into the user directory that were made before there was one.
    /// Where that is done already, this costs one look-up. Run it once, as a task.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complete_user_directory(&self, stop: Stop) -> Result<(), StoreError> {
        while !stop.is_stopping() && !self.backfill_some().await? {}
        Ok(())
    }

    /// Looks at the next accounts; returns whether there are no more.
    pub(crate) async fn backfill_some(&self) -> Result<bool, StoreError> {
        let Some(users) = self.store().read(next_users).await? else {
            return Ok(true);
        };
        let is_complete = users.len() < AT_ONCE;
        self.store()
            .commit(move |latest, _, batch| {
                for user in &users {
                    add(latest, batch, *user)?;
                }
                let progress = DirectoryProgressRecord {
                    last: users.last().map_or(0, |user| user.0),
                    is_complete,
                };
                batch.put(&DIRECTORY_PROGRESS, &(), &progress);
                Ok(is_complete)
            })
            .await
    }
}

/// The accounts to be looked at next; `None` if all were.
fn next_users(view: &Snapshot) -> Result<Option<Vec<UserSerial>>, StoreError> {
    let progress = view.get(&DIRECTORY_PROGRESS, &())?;
    let progress = progress.unwrap_or_default();
    if progress.is_complete {
        return Ok(None);
    }
    let from = UserSerial(progress.last.saturating_add(1));
    let rows = view.scan_from(&ACCOUNT_BY_USER, &(), &from).take(AT_ONCE);
    let users = rows.map(|row| row.map(|(user, _)| user));
    users.collect::<Result<_, _>>().map(Some)
}

/// Runs inside the commit's closure: a name that changes meanwhile is not missed.
fn add(latest: &Latest, batch: &mut Batch, user: UserSerial) -> Result<(), StoreError> {
    let account = account(latest, user)?;
    let is_gone = account.is_none_or(|account| account.deactivated_at.is_some());
    // Guests are nobody whom one looks for.
    if is_gone || guests::is_guest(latest, user)? {
        return Ok(());
    }
    let user_id = model::user_id(latest, user)?.unwrap_or_default();
    let (name, _) = display_name_and_avatar(latest, user)?;
    for word in words_of(&user_id, name.as_deref()) {
        batch.put(&USER_BY_WORD, &(word, user), &());
    }
    Ok(())
}
