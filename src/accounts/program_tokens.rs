//! Tokens for programs that administer in somebody's name (synadm, a script): made where a second
//! factor was given, named, and with an end.

use std::time::Duration;

use audit::{Act, Verb};
use model::{
    ProgramTokenRecord, TokenHash, UserSerial,
    tables::{ACCESS_TOKEN_BY_HASH, PROGRAM_TOKEN_BY_USER},
};
use ruma_common::OwnedDeviceId;
use serde_json::json;
use store::{Read, StoreError};

use crate::{Accounts, ConsoleError, LoginError, account, audited, devices::check_number};

/// The longest name, in characters.
const MAX_NAME: usize = 60;
/// The longest life, in days.
const MAX_DAYS: u32 = 366;
/// How many somebody has at most.
const MOST: usize = 50;

/// A program's token as its person sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramToken {
    /// What is known of it.
    pub record: ProgramTokenRecord,
}

/// Whether a token was made for a program.
pub(crate) fn is_programs(
    view: &impl Read,
    user: UserSerial,
    hash: &TokenHash,
) -> Result<bool, StoreError> {
    view.contains(&PROGRAM_TOKEN_BY_USER, &(user, *hash))
}

/// A name as it is kept.
pub(crate) fn checked_name(typed: &str) -> Result<String, ConsoleError> {
    let name = typed.trim();
    let is_good =
        (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    match is_good {
        true => Ok(name.to_owned()),
        false => Err(ConsoleError::Name),
    }
}

impl Accounts {
    /// Makes a token with which a program administers in a user's name for some days. It is a
    /// device of its own, and ends with it. Returns the token, which cannot be shown again.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn make_program_token(
        &self,
        act: &Act,
        user: UserSerial,
        name: &str,
        days: u32,
    ) -> Result<String, ConsoleError> {
        let name = checked_name(name)?;
        let draft = self.draft_session(None, Some(name.clone()), false);
        let mut draft = draft.map_err(LoginError::from)?;
        let days = days.clamp(1, MAX_DAYS);
        let life = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let expires_at = self.inner.clock.now().plus(life).0;
        draft.tokens.lifetime = Some((life, expires_at));
        let (token, hash) = (draft.tokens.access.clone(), draft.tokens.access_hash());
        let record = ProgramTokenRecord {
            name,
            device_id: draft.device_id.to_string(),
            created_at: draft.now,
            expires_at,
        };
        let (act, now) = (act.clone(), draft.now);
        self.store()
            .commit(move |latest, _, batch| {
                let account = account(latest, user)?.ok_or(LoginError::Forbidden)?;
                if account.deactivated_at.is_some() {
                    return Err(LoginError::Deactivated.into());
                }
                if account.roles.is_empty() {
                    return Err(ConsoleError::NoRole);
                }
                let mut count = 0;
                for row in latest.scan(&PROGRAM_TOKEN_BY_USER, &(user,)) {
                    let ((_, known), _) = row?;
                    match latest.contains(&ACCESS_TOKEN_BY_HASH, &known)? {
                        true => count += 1,
                        // Its device was signed out.
                        false => batch.delete(&PROGRAM_TOKEN_BY_USER, &(user, known)),
                    }
                }
                if count >= MOST {
                    return Err(ConsoleError::TooMany);
                }
                check_number(latest, user, &draft.device_id).map_err(LoginError::from)?;
                draft.write(latest, batch, user)?;
                batch.put(&PROGRAM_TOKEN_BY_USER, &(user, hash), &record);
                let deed = audited::deed(latest, &act, Verb::ProgramTokenMade, user)?;
                let deed = deed.after(json!({
                    "name": record.name,
                    "device_id": record.device_id,
                    "expires_at": record.expires_at,
                }));
                audit::record(latest, batch, now, &[deed])?;
                Ok(())
            })
            .await?;
        Ok(token)
    }

    /// The tokens of programs of a user that have not ended, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn program_tokens(&self, user: UserSerial) -> Result<Vec<ProgramToken>, StoreError> {
        let now = self.now();
        self.store()
            .read(move |view| {
                let mut found = Vec::new();
                for row in view.scan(&PROGRAM_TOKEN_BY_USER, &(user,)) {
                    let ((_, hash), record) = row?;
                    if now < record.expires_at && view.contains(&ACCESS_TOKEN_BY_HASH, &hash)? {
                        found.push(ProgramToken { record });
                    }
                }
                found.sort_by_key(|one| std::cmp::Reverse(one.record.created_at));
                Ok(found)
            })
            .await
    }

    /// Ends a program's token of a user: its device is signed out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_program_token(
        &self,
        act: &Act,
        user: UserSerial,
        device_id: &str,
    ) -> Result<(), StoreError> {
        let known = self.program_tokens(user).await?;
        if known.iter().any(|one| one.record.device_id == device_id) {
            let device_id = OwnedDeviceId::from(device_id);
            self.remove_devices(act, user, vec![device_id]).await?;
        }
        Ok(())
    }
}
