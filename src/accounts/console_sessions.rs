//! Sessions in the console: short, raised by a second factor, bound to their account's roles
//! whenever they are used.

use audit::{Act, Verb};
use model::{
    AccountRecord, ConsoleSessionRecord, DeviceSerial, TokenHash, UserSerial,
    tables::{CONSOLE_SESSION_BY_HASH, CONSOLE_SESSION_BY_USER, PASSWORD_BY_USER},
};
use ruma_common::OwnedUserId;
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, LoginError, OwnRate, PasskeyError, SecondFactors, Session, account, audited, barrier,
    person, second_factors, tokens::token_hash,
};

/// How many sessions somebody has at most; the oldest make room.
const MOST: usize = 20;
/// How old the time of the last use may get before it is written again, in ms.
const USED_EVERY: u64 = 30 * 1_000;
/// How many characters of its hash name a session.
const NAME_CHARACTERS: usize = 16;
/// The longest address and name of a browser that are kept, in bytes.
const MAX_BYTES: usize = 255;

/// Somebody who wants to sign in to the console.
#[derive(Clone)]
pub struct ConsoleLogin {
    /// A localpart or a whole user id, as typed.
    pub user: String,
    /// The password.
    pub password: String,
    /// The network address.
    pub from: Option<String>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
}

/// Why somebody is not let in, or a second factor is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The password does not let in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The account has no role. Told only to who has the password.
    #[error("this account has no role on this server")]
    NoRole,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// The code is wrong, too old, or was used.
    #[error("this code is wrong, or it was used before")]
    Code,
    /// Too many codes were wrong.
    #[error("too many codes were wrong")]
    TooManyTries {
        /// How many ms to wait.
        wait: u64,
    },
    /// A passkey's answer does not count.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// There is no such second factor.
    #[error("there is no such second factor")]
    NotFound,
    /// Nothing was asked, or too long ago.
    #[error("this took too long: begin again")]
    TooLate,
    /// Whoever has a role keeps a second factor.
    #[error("this is the only second factor: add another one first")]
    LastFactor,
    /// Nobody needs more.
    #[error("there are too many of these: remove one first")]
    TooMany,
    /// The passkey is there already.
    #[error("this passkey was added before")]
    Known,
    /// A name is missing or too long.
    #[error("a name has 1 to 60 characters")]
    Name,
    /// A secret cannot be opened: the server has another key than when it was sealed.
    #[error("the secret of these codes cannot be opened with this server's key")]
    Sealed,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A session in the console, as it is now.
#[derive(Clone, Debug)]
pub struct ConsoleSession {
    /// Whose it is, with the roles of now, on no device.
    pub session: Session,
    /// Whether a second factor was given.
    pub is_raised: bool,
    /// When the password was given, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it ends at the latest, in ms since the Unix epoch.
    pub ends_at: u64,
    /// How it is known.
    pub(crate) hash: TokenHash,
}

/// A session as its person sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Its name: tells sessions apart, opens nothing.
    pub name: String,
    /// What is known of it.
    pub record: ConsoleSessionRecord,
    /// Whether it is the one that asks.
    pub is_this: bool,
}

fn name_of(hash: &TokenHash) -> String {
    let name = audit::hexadecimal(hash);
    name.chars().take(NAME_CHARACTERS).collect()
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_BYTES)].to_owned()
}

/// Whether an account may be in the console now.
fn may_enter(
    view: &impl Read,
    user: UserSerial,
    account: &AccountRecord,
    now: u64,
) -> Result<(), ConsoleError> {
    if account.deactivated_at.is_some() {
        return Err(LoginError::Deactivated.into());
    }
    if let Some(barrier) = barrier(view, user, account, now)? {
        return Err(LoginError::Barred(barrier).into());
    }
    match account.roles.is_empty() {
        true => Err(ConsoleError::NoRole),
        false => Ok(()),
    }
}

/// Ends all sessions of somebody but one.
pub(crate) fn remove_all(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    but: Option<TokenHash>,
) -> Result<(), StoreError> {
    for row in latest.scan(&CONSOLE_SESSION_BY_USER, &(user,)) {
        let ((_, hash), ()) = row?;
        if Some(hash) != but {
            remove(batch, user, &hash);
        }
    }
    Ok(())
}

fn remove(batch: &mut Batch, user: UserSerial, hash: &TokenHash) {
    batch.delete(&CONSOLE_SESSION_BY_USER, &(user, *hash));
    batch.delete(&CONSOLE_SESSION_BY_HASH, hash);
}

/// Puts a raised session with another token in the place of one: who has seen the token of
/// before has nothing.
pub(crate) fn raise(
    latest: &Latest,
    batch: &mut Batch,
    before: &TokenHash,
    new: TokenHash,
    now: u64,
) -> Result<(), ConsoleError> {
    let record = latest.get(&CONSOLE_SESSION_BY_HASH, before)?;
    let record = record.ok_or(ConsoleError::Ended)?;
    remove(batch, record.user, before);
    let record = ConsoleSessionRecord {
        is_raised: true,
        used_at: now,
        ..record
    };
    batch.put(&CONSOLE_SESSION_BY_USER, &(record.user, new), &());
    batch.put(&CONSOLE_SESSION_BY_HASH, &new, &record);
    Ok(())
}

impl Accounts {
    /// How long a session in the console lasts: unused, and at most, in ms.
    fn console_times(&self) -> (u64, u64) {
        let options = &self.inner.options;
        let idle = options.console_idle_minutes.max(1).saturating_mul(60_000);
        let most = options.console_session_hours.max(1);
        (idle, most.saturating_mul(3_600_000))
    }

    fn has_ended(&self, record: &ConsoleSessionRecord, now: u64) -> bool {
        let (idle, most) = self.console_times();
        now >= record.used_at.saturating_add(idle) || now >= record.created_at.saturating_add(most)
    }

    /// Lets somebody with a role into the console as far as the question for their second
    /// factor. Returns the session's token.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn open_console(&self, login: ConsoleLogin) -> Result<String, ConsoleError> {
        let typed = self.typed_user_id(&login.user);
        let opened = self.try_open_console(&login, typed.clone()).await;
        match &opened {
            Err(ConsoleError::Login(
                error @ (LoginError::Forbidden | LoginError::Deactivated | LoginError::Barred(_)),
            )) => self.refused(typed, login.from, error).await?,
            Err(error @ ConsoleError::NoRole) => self.refused(typed, login.from, error).await?,
            _ => {}
        }
        opened
    }

    async fn try_open_console(
        &self,
        login: &ConsoleLogin,
        typed: Option<OwnedUserId>,
    ) -> Result<String, ConsoleError> {
        let checked = self.check_password(typed, login.password.clone()).await?;
        let (_, user, password) = checked;
        let (token, now) = (self.inner.random.token(), self.now());
        let hash = token_hash(&token);
        let record = ConsoleSessionRecord {
            user,
            created_at: now,
            used_at: now,
            address: shortened(login.from.as_deref().unwrap_or_default()),
            user_agent: login.user_agent.as_deref().map(shortened),
            is_raised: false,
        };
        let accounts = self.clone();
        self.store()
            .commit(move |latest, _, batch| {
                let account = account(latest, user)?.ok_or(LoginError::Forbidden)?;
                if latest.get(&PASSWORD_BY_USER, &user)?.as_ref() != Some(&password) {
                    return Err(LoginError::Forbidden.into());
                }
                may_enter(latest, user, &account, now)?;
                accounts.make_room(latest, batch, user, now)?;
                batch.put(&CONSOLE_SESSION_BY_USER, &(user, hash), &());
                batch.put(&CONSOLE_SESSION_BY_HASH, &hash, &record);
                Ok::<_, ConsoleError>(())
            })
            .await?;
        Ok(token)
    }

    /// Removes sessions that have ended, and the oldest where there are too many.
    fn make_room(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        user: UserSerial,
        now: u64,
    ) -> Result<(), StoreError> {
        let mut known = Vec::new();
        for row in latest.scan(&CONSOLE_SESSION_BY_USER, &(user,)) {
            let ((_, hash), ()) = row?;
            match latest.get(&CONSOLE_SESSION_BY_HASH, &hash)? {
                Some(record) if !self.has_ended(&record, now) => known.push((record.used_at, hash)),
                _ => remove(batch, user, &hash),
            }
        }
        known.sort_unstable();
        let surplus = (known.len() + 1).saturating_sub(MOST);
        for (_, hash) in known.iter().take(surplus) {
            remove(batch, user, hash);
        }
        Ok(())
    }

    /// The session behind a token, with the roles that its account has now; none if it has
    /// ended, or the account may not be in the console any more. `is_used`: whether its person
    /// does something, so that it goes on; a page that looks by itself is no use.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn console_session(
        &self,
        token: &str,
        is_used: bool,
    ) -> Result<Option<ConsoleSession>, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        let (accounts, (_, most)) = (self.clone(), self.console_times());
        let found: Option<(ConsoleSession, u64)> = self
            .store()
            .read(move |view| {
                let Some(record) = view.get(&CONSOLE_SESSION_BY_HASH, &hash)? else {
                    return Ok(None);
                };
                let account = account(view, record.user)?;
                let account =
                    account.filter(|account| may_enter(view, record.user, account, now).is_ok());
                let user_id = model::user_id(view, record.user)?;
                let user_id = user_id.and_then(|user_id| OwnedUserId::try_from(user_id).ok());
                let (Some(account), Some(user_id)) = (account, user_id) else {
                    return Ok(None);
                };
                if accounts.has_ended(&record, now) {
                    return Ok(None);
                }
                let session = Session {
                    user_id,
                    user: record.user,
                    device_id: "".into(),
                    device: DeviceSerial(record.user.0),
                    roles: account.roles,
                    is_guest: false,
                    lacks_second_factor: !record.is_raised,
                    service: None,
                    own_rate: OwnRate::of(&person(view, record.user)?.limits),
                };
                let session = ConsoleSession {
                    session,
                    is_raised: record.is_raised,
                    created_at: record.created_at,
                    ends_at: record.created_at.saturating_add(most),
                    hash,
                };
                Ok::<_, StoreError>(Some((session, record.used_at)))
            })
            .await?;
        let Some((session, used_at)) = found else {
            return Ok(None);
        };
        if is_used && now >= used_at.saturating_add(USED_EVERY) {
            self.note_use(hash, now).await?;
        }
        Ok(Some(session))
    }

    async fn note_use(&self, hash: TokenHash, now: u64) -> Result<(), StoreError> {
        self.store()
            .commit_later(move |latest, _, batch| {
                if let Some(mut record) = latest.get(&CONSOLE_SESSION_BY_HASH, &hash)? {
                    record.used_at = record.used_at.max(now);
                    batch.put(&CONSOLE_SESSION_BY_HASH, &hash, &record);
                }
                Ok(())
            })
            .await
    }

    /// The sessions of the one who asks, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn console_sessions(
        &self,
        by: &ConsoleSession,
    ) -> Result<Vec<ListedSession>, StoreError> {
        let (accounts, user, own, now) = (self.clone(), by.session.user, by.hash, self.now());
        self.store()
            .read(move |view| {
                let mut listed = Vec::new();
                for row in view.scan(&CONSOLE_SESSION_BY_USER, &(user,)) {
                    let ((_, hash), ()) = row?;
                    let record = view.get(&CONSOLE_SESSION_BY_HASH, &hash)?;
                    listed.extend(record.filter(|one| !accounts.has_ended(one, now)).map(
                        |record| ListedSession {
                            name: name_of(&hash),
                            record,
                            is_this: hash == own,
                        },
                    ));
                }
                listed.sort_by_key(|one| std::cmp::Reverse(one.record.used_at));
                Ok(listed)
            })
            .await
    }

    /// Ends a session of the one who asks, the named one or the present one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn close_console(
        &self,
        act: &Act,
        by: &ConsoleSession,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        let (user, own, now) = (by.session.user, by.hash, self.now());
        let (act, name) = (act.clone(), name.map(str::to_owned));
        self.store()
            .commit(move |latest, _, batch| {
                for row in latest.scan(&CONSOLE_SESSION_BY_USER, &(user,)) {
                    let ((_, hash), ()) = row?;
                    let is_meant = match &name {
                        None => hash == own,
                        Some(name) => name_of(&hash) == *name,
                    };
                    if !is_meant {
                        continue;
                    }
                    let record = latest.get(&CONSOLE_SESSION_BY_HASH, &hash)?;
                    remove(batch, user, &hash);
                    // Of one that was never raised nothing was told.
                    if record.is_some_and(|record| record.is_raised) {
                        let deed = audited::deed(latest, &act, Verb::ConsoleClosed, user)?;
                        let deed = deed.before(json!({ "session": name_of(&hash) }));
                        audit::record(latest, batch, now, &[deed])?;
                    }
                    return Ok(());
                }
                Ok(())
            })
            .await
    }

    /// Whether the one who asks has to set up a second factor before anything else.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn must_enrol(&self, by: &ConsoleSession) -> Result<bool, StoreError> {
        let user = by.session.user;
        self.store()
            .read(move |view| Ok(!second_factors::is_enrolled(view, user)?))
            .await
    }

    /// The second factors of the one who asks.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn own_factors(&self, by: &ConsoleSession) -> Result<SecondFactors, StoreError> {
        let user = by.session.user;
        self.store()
            .read(move |view| second_factors::second_factors(view, user))
            .await
    }
}
