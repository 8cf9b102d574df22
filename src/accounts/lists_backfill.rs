//! Accounts and invitations that were made before there were lists of them: put into these once, in small commits, going on where the server stopped.

use model::{
    ListingProgressRecord, UserSerial,
    tables::{ACCOUNT_BY_USER, INVITATION_BY_HASH, LAST_SEEN_BY_USER, PEOPLE_LISTS_PROGRESS},
};
use runtime::Stop;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{Accounts, devices, invitation_lists, people_lists};

/// How many accounts one commit looks at.
const AT_ONCE: usize = 200;

impl Accounts {
    /// Puts those accounts into the lists that were made before there were any, and the invitations. Where that is done already, this costs one look-up.
    /// To be called before anybody asks for the lists. It may be called again after it was stopped.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complete_people_lists(&self, stop: Stop) -> Result<(), StoreError> {
        while !stop.is_stopping() && !self.list_some().await? {}
        Ok(())
    }

    /// Lists the next accounts; returns whether there are no more.
    pub(crate) async fn list_some(&self) -> Result<bool, StoreError> {
        let Some((is_first, users)) = self.store().read(next_users).await? else {
            return Ok(true);
        };
        let is_complete = users.len() < AT_ONCE;
        self.store()
            .commit(move |latest, _, batch| {
                if is_first {
                    list_invitations(latest, batch)?;
                }
                for user in &users {
                    people_lists::relist(latest, batch, *user, |_| {})?;
                    note_last_seen(latest, batch, *user)?;
                }
                let progress = ListingProgressRecord {
                    last: users.last().map_or(0, |user| user.0),
                    is_complete,
                };
                batch.put(&PEOPLE_LISTS_PROGRESS, &(), &progress);
                Ok(is_complete)
            })
            .await
    }
}

/// The accounts to be looked at next, and whether these are the first; `None` if all were.
fn next_users(view: &Snapshot) -> Result<Option<(bool, Vec<UserSerial>)>, StoreError> {
    let known = view.get(&PEOPLE_LISTS_PROGRESS, &())?;
    let progress = known.unwrap_or_default();
    if progress.is_complete {
        return Ok(None);
    }
    let from = UserSerial(known.map_or(0, |known| known.last.saturating_add(1)));
    let rows = view.scan_from(&ACCOUNT_BY_USER, &(), &from).take(AT_ONCE);
    let users: Result<_, _> = rows.map(|row| row.map(|(user, _)| user)).collect();
    Ok(Some((known.is_none(), users?)))
}

fn list_invitations(latest: &Latest, batch: &mut Batch) -> Result<(), StoreError> {
    for row in latest.scan(&INVITATION_BY_HASH, &()) {
        let (hash, record) = row?;
        invitation_lists::index(batch, &hash, &record);
    }
    Ok(())
}

fn note_last_seen(latest: &Latest, batch: &mut Batch, user: UserSerial) -> Result<(), StoreError> {
    let seen = devices(latest, user)?
        .into_iter()
        .filter_map(|device| device.last_seen);
    if let Some(at) = seen.map(|seen| seen.at).max() {
        batch.put(&LAST_SEEN_BY_USER, &user, &at);
    }
    Ok(())
}
