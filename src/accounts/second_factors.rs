//! Second factors of those who have a role: one-time codes, passkeys, and recovery codes for the
//! day when both are lost.

use audit::{Act, Verb};
use model::{
    Changes, CodeGeneratorRecord, LogEntry, PasskeyRecord, TokenHash, UserSerial,
    tables::{
        CODE_GENERATOR_BY_USER, PASSKEY_BY_USER, PASSWORD_BY_USER, PROGRAM_TOKEN_BY_USER,
        RECOVERY_CODE_BY_USER,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    Accounts, ConsoleError, ConsoleSession, LoginError, MadePasskey, SealingKey, Site, audited,
    ceremonies::Asked, console_sessions, one_time_codes, program_tokens::checked_name,
    tokens::token_hash, webauthn,
};

/// How many recovery codes are made, and of how many characters each is.
const RECOVERY_CODES: usize = 10;
const RECOVERY_BYTES: usize = 10;
/// How many passkeys somebody has at most.
const MOST_PASSKEYS: usize = 20;

/// Somebody's second factors, without a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecondFactors {
    /// Since when there are one-time codes, in ms since the Unix epoch.
    pub codes_since: Option<u64>,
    /// The passkeys, the oldest first.
    pub passkeys: Vec<PasskeyRecord>,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
}

/// A new secret for one-time codes.
#[derive(Clone, Debug)]
pub struct NewCodes {
    /// As people type it into an app.
    pub secret: String,
    /// As an app reads it from a QR code.
    pub address: String,
}

/// A question for a browser about a passkey.
#[derive(Clone, Debug)]
pub struct PasskeyQuestion {
    /// What is to be signed.
    pub challenge: Vec<u8>,
    /// The passkeys that are known.
    pub known: Vec<Vec<u8>>,
    /// How the authenticator knows the person.
    pub user: [u8; 8],
}

/// What becomes of a second factor that was added.
#[derive(Clone, Debug, Default)]
pub struct Enrolled {
    /// Recovery codes, if there were none: shown once.
    pub recovery_codes: Vec<String>,
    /// The token of the session from now on.
    pub token: String,
}

/// Which second factor is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Factor {
    /// One-time codes.
    Codes,
    /// The passkey of this id.
    Passkey(Vec<u8>),
}

/// Somebody's second factors.
///
/// # Errors
/// If the database fails.
pub fn second_factors(view: &impl Read, user: UserSerial) -> Result<SecondFactors, StoreError> {
    let codes = view.get(&CODE_GENERATOR_BY_USER, &user)?;
    let mut passkeys = Vec::new();
    for row in view.scan(&PASSKEY_BY_USER, &(user,)) {
        passkeys.push(row?.1);
    }
    passkeys.sort_by_key(|passkey| passkey.created_at);
    let mut recovery_codes = 0;
    for row in view.scan(&RECOVERY_CODE_BY_USER, &(user,)) {
        row?;
        recovery_codes += 1;
    }
    Ok(SecondFactors {
        codes_since: codes.map(|codes| codes.created_at),
        passkeys,
        recovery_codes,
    })
}

/// Whether somebody has a second factor.
pub(crate) fn is_enrolled(view: &impl Read, user: UserSerial) -> Result<bool, StoreError> {
    if view.contains(&CODE_GENERATOR_BY_USER, &user)? {
        return Ok(true);
    }
    let mut passkeys = view.scan(&PASSKEY_BY_USER, &(user,));
    Ok(passkeys.next().transpose()?.is_some())
}

pub(crate) fn hash_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What a code generator's secret is sealed for.
fn place(user: UserSerial) -> Vec<u8> {
    [&b"one-time codes "[..], &user.0.to_be_bytes()].concat()
}

/// A recovery code as it was typed, without what stands between its characters.
pub(crate) fn recovery_hash(typed: &str) -> TokenHash {
    let letters = typed.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|one| one.to_ascii_lowercase()).collect();
    hash_of(plain.as_bytes())
}

impl Accounts {
    /// Seals secrets with that key from now on. To be called before anything is served.
    pub fn seal_with(&self, key: SealingKey) {
        *self.inner.sealing.lock() = key;
    }

    /// Seals every secret with another key as well, so that either opens it: before the server's
    /// key is changed.
    ///
    /// # Errors
    /// [`ConsoleError::Sealed`] if one cannot be opened; then none was changed.
    pub async fn seal_also_with(&self, key: SealingKey) -> Result<(), ConsoleError> {
        let (now, random) = (self.inner.sealing.lock().clone(), self.inner.random.clone());
        self.store()
            .commit(move |latest, _, batch| {
                for row in latest.scan(&CODE_GENERATOR_BY_USER, &()) {
                    let (user, mut record) = row?;
                    let secret = opened(&now, user, &record).ok_or(ConsoleError::Sealed)?;
                    let sealed = [&now, &key].map(|key| key.seal(&random, &place(user), &secret));
                    record.sealed = sealed.into_iter().flatten().collect();
                    batch.put(&CODE_GENERATOR_BY_USER, &user, &record);
                }
                Ok(())
            })
            .await
    }

    /// A secret for new one-time codes, the same for a session until it is confirmed.
    pub fn new_codes(&self, by: &ConsoleSession) -> NewCodes {
        let now = self.now();
        let mut ceremonies = self.inner.ceremonies.lock();
        let secret = ceremonies.look(&by.hash, Asked::Codes, now);
        let secret = secret.unwrap_or_else(|| {
            let secret = self
                .inner
                .random
                .bytes::<{ one_time_codes::SECRET_BYTES }>();
            ceremonies.begin(by.hash, Asked::Codes, &secret, now);
            secret.to_vec()
        });
        let issuer = self.inner.server_name.as_str();
        NewCodes {
            secret: one_time_codes::base32(&secret),
            address: one_time_codes::address(issuer, by.session.user_id.as_str(), &secret),
        }
    }

    /// Sets up one-time codes, once the first one is right; earlier ones are replaced.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn add_codes(
        &self,
        act: &Act,
        by: &ConsoleSession,
        password: String,
        typed: &str,
    ) -> Result<Enrolled, ConsoleError> {
        let now = self.now();
        let secret = self
            .inner
            .ceremonies
            .lock()
            .look(&by.hash, Asked::Codes, now);
        let secret = secret.ok_or(ConsoleError::TooLate)?;
        let checked = self.password_anew(by, password).await?;
        self.may_try(by, now)?;
        let Some(step) = one_time_codes::step_of(&secret, typed, now, 0) else {
            self.inner.ceremonies.lock().was_wrong(by.session.user, now);
            return Err(ConsoleError::Code);
        };
        let user = by.session.user;
        let key = self.inner.sealing.lock().clone();
        let sealed = key.seal(&self.inner.random, &place(user), &secret);
        let record = CodeGeneratorRecord {
            sealed: vec![sealed.ok_or(ConsoleError::Sealed)?],
            created_at: now,
            last_step: step,
        };
        let enrolled = self
            .enrol(act, by, checked, json!("codes"), move |_, batch| {
                batch.put(&CODE_GENERATOR_BY_USER, &user, &record);
                Ok(())
            })
            .await?;
        self.inner
            .ceremonies
            .lock()
            .take(&by.hash, Asked::Codes, now);
        Ok(enrolled)
    }

    /// A question for a new passkey, or for one that is known to sign.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ask_passkey(
        &self,
        by: &ConsoleSession,
        is_new: bool,
    ) -> Result<PasskeyQuestion, StoreError> {
        let user = by.session.user;
        let read = move |view: &store::Snapshot| second_factors(view, user);
        let factors: SecondFactors = self.store().read(read).await?;
        let challenge = self.inner.random.bytes::<32>();
        let asked = match is_new {
            true => Asked::Creation,
            false => Asked::Signature,
        };
        let now = self.now();
        let mut ceremonies = self.inner.ceremonies.lock();
        ceremonies.begin(by.hash, asked, &challenge, now);
        Ok(PasskeyQuestion {
            challenge: challenge.to_vec(),
            known: factors.passkeys.into_iter().map(|one| one.id).collect(),
            user: user.0.to_be_bytes(),
        })
    }

    /// Adds a passkey that a browser has made.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn add_passkey(
        &self,
        act: &Act,
        by: &ConsoleSession,
        password: String,
        name: &str,
        (answer, site): (MadePasskey, Site),
    ) -> Result<Enrolled, ConsoleError> {
        let (now, name) = (self.now(), checked_name(name)?);
        let challenge = self
            .inner
            .ceremonies
            .lock()
            .take(&by.hash, Asked::Creation, now);
        let challenge = challenge.ok_or(ConsoleError::TooLate)?;
        let made = webauthn::made(&answer, &site, &challenge)?;
        let checked = self.password_anew(by, password).await?;
        let record = PasskeyRecord {
            name: name.clone(),
            created_at: now,
            ..made
        };
        let (user, hash) = (by.session.user, hash_of(&record.id));
        let told = json!({ "passkey": name });
        self.enrol(act, by, checked, told, move |latest, batch| {
            if latest.contains(&PASSKEY_BY_USER, &(user, hash))? {
                return Err(ConsoleError::Known);
            }
            if latest.scan(&PASSKEY_BY_USER, &(user,)).count() >= MOST_PASSKEYS {
                return Err(ConsoleError::TooMany);
            }
            batch.put(&PASSKEY_BY_USER, &(user, hash), &record);
            Ok(())
        })
        .await
    }

    /// The hash of the password that was given anew.
    async fn password_anew(
        &self,
        by: &ConsoleSession,
        password: String,
    ) -> Result<String, ConsoleError> {
        let user_id = by.session.user_id.clone();
        let (_, _, checked) = self.check_password(Some(user_id), password).await?;
        Ok(checked)
    }

    /// Writes a new second factor. Who has one already needs a session that it has raised.
    async fn enrol(
        &self,
        act: &Act,
        by: &ConsoleSession,
        password: String,
        told: Value,
        write: impl FnOnce(&Latest, &mut Batch) -> Result<(), ConsoleError> + Send + 'static,
    ) -> Result<Enrolled, ConsoleError> {
        let codes = self.draw_recovery_codes();
        let token = self.inner.random.token();
        let (hashes, hash) = (hashes(&codes), token_hash(&token));
        let (act, by, now) = (act.clone(), by.clone(), self.now());
        let sessions = self.inner.sessions.clone();
        let has_codes = self
            .store()
            .commit(move |latest, position, batch| {
                let user = by.session.user;
                if latest.get(&PASSWORD_BY_USER, &user)?.as_ref() != Some(&password) {
                    return Err(LoginError::Forbidden.into());
                }
                if !by.is_raised && is_enrolled(latest, user)? {
                    return Err(ConsoleError::Ended);
                }
                write(latest, batch)?;
                let mut known = latest.scan(&RECOVERY_CODE_BY_USER, &(user,));
                let has_codes = known.next().transpose()?.is_some();
                if !has_codes {
                    put_codes(batch, user, &hashes);
                }
                console_sessions::raise(latest, batch, &by.hash, hash, now)?;
                let deed = audited::deed(latest, &act, Verb::SecondFactorAdded, user)?;
                let mut deeds = vec![deed.after(told)];
                if !by.is_raised {
                    deeds.push(audited::deed(latest, &act, Verb::ConsoleOpened, user)?);
                }
                audit::record(latest, batch, now, &deeds)?;
                changed(batch, position, user);
                sessions.evict_user(user, position);
                Ok::<_, ConsoleError>(has_codes)
            })
            .await?;
        Ok(Enrolled {
            recovery_codes: if has_codes { Vec::new() } else { codes },
            token,
        })
    }

    fn draw_recovery_codes(&self) -> Vec<String> {
        let draw = |_| {
            let bytes = self.inner.random.bytes::<RECOVERY_BYTES>();
            let plain = one_time_codes::base32(&bytes).to_ascii_lowercase();
            let parts: Vec<String> = plain
                .as_bytes()
                .chunks(4)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            parts.join("-")
        };
        (0..RECOVERY_CODES).map(draw).collect()
    }

    pub(crate) fn may_try(&self, by: &ConsoleSession, now: u64) -> Result<(), ConsoleError> {
        let tried = self.inner.ceremonies.lock().may_try(by.session.user, now);
        tried.map_err(|wait| ConsoleError::TooManyTries { wait })
    }

    /// Puts other recovery codes in the place of those that there are. They are shown once.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn renew_recovery_codes(
        &self,
        act: &Act,
        by: &ConsoleSession,
        password: String,
    ) -> Result<Vec<String>, ConsoleError> {
        must_be_raised(by)?;
        self.password_anew(by, password).await?;
        let codes = self.draw_recovery_codes();
        let (hashes, user, now) = (hashes(&codes), by.session.user, self.now());
        let act = act.clone();
        self.store()
            .commit(move |latest, _, batch| {
                batch.delete_prefix(&RECOVERY_CODE_BY_USER, &(user,));
                put_codes(batch, user, &hashes);
                let deed = audited::deed(latest, &act, Verb::RecoveryCodesMade, user)?;
                audit::record(latest, batch, now, &[deed])?;
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(codes)
    }

    /// Removes a second factor of the one who asks, but not the last.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn remove_factor(
        &self,
        act: &Act,
        by: &ConsoleSession,
        password: String,
        factor: Factor,
    ) -> Result<(), ConsoleError> {
        must_be_raised(by)?;
        self.password_anew(by, password).await?;
        let (act, user, now) = (act.clone(), by.session.user, self.now());
        self.store()
            .commit(move |latest, position, batch| {
                let known = second_factors(latest, user)?;
                let count = known.passkeys.len() + usize::from(known.codes_since.is_some());
                let told = match &factor {
                    Factor::Codes => {
                        known.codes_since.ok_or(ConsoleError::NotFound)?;
                        batch.delete(&CODE_GENERATOR_BY_USER, &user);
                        json!("codes")
                    }
                    Factor::Passkey(id) => {
                        let found = known.passkeys.iter().find(|one| one.id == *id);
                        let found = found.ok_or(ConsoleError::NotFound)?;
                        batch.delete(&PASSKEY_BY_USER, &(user, hash_of(id)));
                        json!({ "passkey": found.name })
                    }
                };
                if count < 2 {
                    return Err(ConsoleError::LastFactor);
                }
                let deed = audited::deed(latest, &act, Verb::SecondFactorRemoved, user)?;
                audit::record(latest, batch, now, &[deed.before(told)])?;
                changed(batch, position, user);
                Ok(())
            })
            .await
    }

    /// Removes all second factors of somebody who has lost them, and ends their sessions in the
    /// console and the tokens of their programs.
    ///
    /// # Errors
    /// [`ConsoleError::NotFound`] if there are none.
    pub async fn reset_factors(&self, act: &Act, user: UserSerial) -> Result<(), ConsoleError> {
        let read = move |view: &store::Snapshot| -> Result<_, StoreError> {
            let rows = view.scan(&PROGRAM_TOKEN_BY_USER, &(user,));
            let programs = rows.map(|row| row.map(|(_, record)| record.device_id));
            let programs: Vec<String> = programs.collect::<Result<_, _>>()?;
            Ok((second_factors(view, user)?, programs))
        };
        let (known, programs) = self.store().read(read).await?;
        if known == SecondFactors::default() {
            return Err(ConsoleError::NotFound);
        }
        // First of all: if this breaks off, the factors are still there and it is done again.
        if !programs.is_empty() {
            let programs = programs.into_iter().map(Into::into).collect();
            self.remove_devices(&Act::server(), user, programs).await?;
        }
        let (act, now, sessions) = (act.clone(), self.now(), self.inner.sessions.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let known = second_factors(latest, user)?;
                if known == SecondFactors::default() {
                    return Err(ConsoleError::NotFound);
                }
                batch.delete(&CODE_GENERATOR_BY_USER, &user);
                batch.delete_prefix(&PASSKEY_BY_USER, &(user,));
                batch.delete_prefix(&RECOVERY_CODE_BY_USER, &(user,));
                batch.delete_prefix(&PROGRAM_TOKEN_BY_USER, &(user,));
                console_sessions::remove_all(latest, batch, user, None)?;
                let deed = audited::deed(latest, &act, Verb::SecondFactorRemoved, user)?;
                let names: Vec<&str> = known.passkeys.iter().map(|one| &*one.name).collect();
                let deed = deed.before(json!({
                    "codes": known.codes_since.is_some(),
                    "passkeys": names,
                }));
                audit::record(latest, batch, now, &[deed])?;
                changed(batch, position, user);
                sessions.evict_user(user, position);
                Ok(())
            })
            .await
    }
}

/// Refuses who has given a password alone.
fn must_be_raised(by: &ConsoleSession) -> Result<(), ConsoleError> {
    match by.is_raised {
        true => Ok(()),
        false => Err(ConsoleError::Ended),
    }
}

/// Tells the log that something of the account is another now.
fn changed(batch: &mut Batch, position: Position, user: UserSerial) {
    Changes::at(position).log(batch, &LogEntry::Account { user });
}

fn hashes(codes: &[String]) -> Vec<TokenHash> {
    codes.iter().map(|code| recovery_hash(code)).collect()
}

fn put_codes(batch: &mut Batch, user: UserSerial, hashes: &[TokenHash]) {
    for hash in hashes {
        batch.put(&RECOVERY_CODE_BY_USER, &(user, *hash), &());
    }
}

pub(crate) fn opened(
    key: &SealingKey,
    user: UserSerial,
    record: &CodeGeneratorRecord,
) -> Option<Vec<u8>> {
    let mut sealed = record.sealed.iter();
    sealed.find_map(|sealed| key.open(&place(user), sealed))
}
