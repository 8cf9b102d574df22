//! What administrators do with accounts: listing, roles, locks, closing for ever.

use audit::{Act, Verb};
use model::{
    AccountRecord, Changes, LogEntry, PersonRecord, Roles, UserSerial,
    tables::{
        ACCOUNT_BY_USER, ACCOUNT_DATA_BY_USER, ACCOUNT_DATA_USAGE_BY_USER, CODE_GENERATOR_BY_USER,
        CROSS_SIGNING_KEY_BY_USER, FILTER_BY_HASH, FILTER_BY_USER, PASSKEY_BY_USER,
        PASSWORD_BY_USER, PROFILE_FIELD_BY_USER, PROGRAM_TOKEN_BY_USER, RECOVERY_CODE_BY_USER,
        SIGNATURE_BY_KEY, SIGNED_USER_BY_USER,
    },
};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Value, json};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, audited, console_sessions, device_lists, devices, display_name_and_avatar, emails,
    find, key_backups, people_lists, person, user_directory,
};

/// Why something cannot be done with an account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// The account was closed for ever.
    #[error("this account was deactivated")]
    Deactivated,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An account as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The user's serial.
    pub user: UserSerial,
    /// The account.
    pub account: AccountRecord,
    /// The name that the user goes by.
    pub display_name: Option<String>,
    /// How many devices are signed in.
    pub devices: usize,
    /// When one of them was used last, in ms since the Unix epoch.
    pub last_seen_at: Option<u64>,
}

/// One account.
///
/// # Errors
/// If the database fails.
pub fn account_summary(
    view: &impl Read,
    user_id: &UserId,
) -> Result<Option<AccountSummary>, StoreError> {
    find(view, user_id)?
        .map(|(user, account)| summary(view, user_id.to_owned(), user, account))
        .transpose()
}

/// The accounts in the order in which they were made, from the one behind `after` on; at most `limit`.
///
/// # Errors
/// If the database fails.
pub fn accounts_after(
    view: &impl Read,
    after: Option<UserSerial>,
    limit: usize,
) -> Result<Vec<AccountSummary>, StoreError> {
    let from = UserSerial(after.map_or(0, |after| after.0.saturating_add(1)));
    let mut accounts = Vec::new();
    for row in view.scan_from(&ACCOUNT_BY_USER, &(), &from).take(limit) {
        let (user, account) = row?;
        let user_id = model::user_id(view, user)?;
        if let Some(user_id) = user_id.and_then(|id| OwnedUserId::try_from(id).ok()) {
            accounts.push(summary(view, user_id, user, account)?);
        }
    }
    Ok(accounts)
}

fn summary(
    view: &impl Read,
    user_id: OwnedUserId,
    user: UserSerial,
    account: AccountRecord,
) -> Result<AccountSummary, StoreError> {
    let (display_name, _) = display_name_and_avatar(view, user)?;
    let devices = devices::devices(view, user)?;
    let seen = devices
        .iter()
        .filter_map(|device| device.last_seen.as_ref());
    Ok(AccountSummary {
        user_id,
        user,
        account,
        display_name,
        devices: devices.len(),
        last_seen_at: seen.map(|seen| seen.at).max(),
    })
}

impl Accounts {
    /// Gives a user roles in place of those that `change` is given. Returns those from now on.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn change_roles(
        &self,
        act: &Act,
        user: UserSerial,
        change: impl FnOnce(Roles) -> Roles + Send + 'static,
    ) -> Result<Roles, AdministrationError> {
        self.change_account(act, Verb::RolesChanged, user, move |account, _| {
            let before = account.roles;
            account.roles = change(before);
            let told = (json!(before.names()), json!(account.roles.names()));
            (told, account.roles)
        })
        .await
    }

    /// Locks an account, or unlocks it. While it is locked its tokens open nothing and keep waiting;
    /// `told` is what its person is told then.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_locked(
        &self,
        act: &Act,
        user: UserSerial,
        is_locked: bool,
        told: Option<String>,
    ) -> Result<(), AdministrationError> {
        self.change_account(act, Verb::LockChanged, user, move |account, person| {
            let before = account.is_locked;
            account.is_locked = is_locked;
            person.restraint = told.filter(|_| is_locked);
            ((before.into(), is_locked.into()), ())
        })
        .await
    }

    /// `change` says what it was before and what it is now.
    async fn change_account<T: Send + 'static>(
        &self,
        act: &Act,
        verb: Verb,
        user: UserSerial,
        change: impl FnOnce(&mut AccountRecord, &mut PersonRecord) -> ((Value, Value), T)
        + Send
        + 'static,
    ) -> Result<T, AdministrationError> {
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let mut account = active(latest, user)?;
                let known = person::person(latest, user)?;
                let mut person = known.clone();
                let ((before, after), answer) = change(&mut account, &mut person);
                person::write(batch, user, &known, &person);
                batch.put(&ACCOUNT_BY_USER, &user, &account);
                people_lists::relist(latest, batch, user, |known| {
                    people_lists::note_account(known, &account);
                })?;
                let deed = audited::deed(latest, &act, verb, user)?;
                audit::record(latest, batch, now, &[deed.before(before).after(after)])?;
                Changes::at(position).log(batch, &LogEntry::Account { user });
                sessions.evict_user(user, position);
                Ok(answer)
            })
            .await
    }

    /// Closes an account for ever: devices, tokens and keys are gone, the name is never given out again. The password opens nothing any more; its hash stays,
    /// so that whoever has it, and nobody else, is told that the account was closed. With `erase` the hash, the profile, the account data and the filters go
    /// too, and the account is marked so that what the user wrote is hidden from those who join later. Leaving rooms is not done here; it comes after this.
    ///
    /// A closed account can still be erased.
    ///
    /// # Errors
    /// [`AdministrationError`]; [`AdministrationError::Deactivated`] if nothing is left to be done.
    pub async fn deactivate(
        &self,
        act: &Act,
        user: UserSerial,
        erase: bool,
    ) -> Result<(), AdministrationError> {
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let account = latest.get(&ACCOUNT_BY_USER, &user)?;
                let mut account = account.ok_or(AdministrationError::NotFound)?;
                if account.deactivated_at.is_some() && (account.is_erased || !erase) {
                    return Err(AdministrationError::Deactivated);
                }
                account.deactivated_at.get_or_insert(now);
                // Only what can be used is locked.
                account.is_locked = false;
                let roles = std::mem::replace(&mut account.roles, Roles::NONE);
                account.is_erased = erase;
                batch.put(&ACCOUNT_BY_USER, &user, &account);
                people_lists::relist(latest, batch, user, |known| {
                    people_lists::note_account(known, &account);
                    known.display_name.take_if(|_| erase);
                })?;
                let mut changes = Changes::at(position);
                user_directory::remove(latest, batch, user)?;
                remove_secrets(latest, batch, &mut changes, user)?;
                device_lists::announce(latest, batch, &mut changes, user)?;
                if erase {
                    remove_data(batch, user);
                }
                let deed = audited::deed(latest, &act, Verb::PersonDeactivated, user)?
                    .before(json!({ "roles": roles.names() }))
                    .after(json!({ "erased": erase }));
                audit::record(latest, batch, now, &[deed])?;
                changes.log(batch, &LogEntry::Account { user });
                sessions.evict_user(user, position);
                Ok(())
            })
            .await
    }
}

/// The account, if it was not deactivated.
pub(crate) fn active(
    latest: &Latest,
    user: UserSerial,
) -> Result<AccountRecord, AdministrationError> {
    let account = latest.get(&ACCOUNT_BY_USER, &user)?;
    let account = account.ok_or(AdministrationError::NotFound)?;
    if account.deactivated_at.is_some() {
        return Err(AdministrationError::Deactivated);
    }
    Ok(account)
}

fn remove_secrets(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
) -> Result<(), StoreError> {
    devices::remove_all(latest, batch, changes, user, None)?;
    emails::remove_all(latest, batch, user)?;
    person::close(latest, batch, user)?;
    console_sessions::remove_all(latest, batch, user, None)?;
    batch.delete(&CODE_GENERATOR_BY_USER, &user);
    batch.delete_prefix(&PASSKEY_BY_USER, &(user,));
    batch.delete_prefix(&RECOVERY_CODE_BY_USER, &(user,));
    batch.delete_prefix(&PROGRAM_TOKEN_BY_USER, &(user,));
    batch.delete_prefix(&CROSS_SIGNING_KEY_BY_USER, &(user,));
    batch.delete_prefix(&SIGNATURE_BY_KEY, &(user,));
    batch.delete_prefix(&SIGNED_USER_BY_USER, &(user,));
    key_backups::remove_all(batch, user);
    Ok(())
}

fn remove_data(batch: &mut Batch, user: UserSerial) {
    batch.delete(&PASSWORD_BY_USER, &user);
    batch.delete_prefix(&PROFILE_FIELD_BY_USER, &(user,));
    batch.delete_prefix(&ACCOUNT_DATA_BY_USER, &(user,));
    batch.delete(&ACCOUNT_DATA_USAGE_BY_USER, &user);
    batch.delete_prefix(&FILTER_BY_USER, &(user,));
    batch.delete_prefix(&FILTER_BY_HASH, &(user,));
}
