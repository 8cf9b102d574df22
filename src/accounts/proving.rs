//! Proving a second factor: by a one-time code, a recovery code or a passkey, each good once.

use audit::{Act, Verb};
use model::{
    CodeGeneratorRecord, PasskeyRecord, TokenHash, UserSerial,
    tables::{CODE_GENERATOR_BY_USER, PASSKEY_BY_USER, RECOVERY_CODE_BY_USER},
};
use serde_json::json;
use store::{Batch, Latest, Read};

use crate::{
    Accounts, ConsoleError, ConsoleSession, SealingKey, SignedByPasskey, Site, audited,
    ceremonies::Asked,
    console_sessions, one_time_codes,
    second_factors::{hash_of, opened, recovery_hash},
    tokens::token_hash,
    webauthn,
};

/// What proves that it is oneself, besides the password.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A one-time code, or a recovery code.
    Code(String),
    /// A passkey's signature, for a site.
    Passkey(Box<SignedByPasskey>, Site),
}

impl Accounts {
    /// Raises a session by a second factor. Returns its token from now on.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn raise_console(
        &self,
        act: &Act,
        by: &ConsoleSession,
        proof: Proof,
    ) -> Result<String, ConsoleError> {
        let raised = self.try_raise(act, by, proof).await;
        if let Err(
            error @ (ConsoleError::Code
            | ConsoleError::Passkey(_)
            | ConsoleError::TooManyTries { .. }),
        ) = &raised
        {
            let user_id = by.session.user_id.clone();
            self.refused(Some(user_id), act.from.clone(), error).await?;
        }
        raised
    }

    async fn try_raise(
        &self,
        act: &Act,
        by: &ConsoleSession,
        proof: Proof,
    ) -> Result<String, ConsoleError> {
        let (now, token) = (self.now(), self.inner.random.token());
        let (user, before, hash) = (by.session.user, by.hash, token_hash(&token));
        let is_code = matches!(proof, Proof::Code(_));
        if is_code {
            self.may_try(by, now)?;
        }
        let challenge = match &proof {
            Proof::Code(_) => Vec::new(),
            Proof::Passkey(..) => {
                let mut ceremonies = self.inner.ceremonies.lock();
                let asked = ceremonies.take(&by.hash, Asked::Signature, now);
                asked.ok_or(ConsoleError::TooLate)?
            }
        };
        let (key, act) = (self.inner.sealing.lock().clone(), act.clone());
        let checked = self
            .store()
            .read(move |view| match &proof {
                Proof::Code(typed) => checked_code(view, &key, user, typed, now),
                Proof::Passkey(answer, site) => {
                    checked_passkey(view, user, (answer, site), (&challenge, now))
                }
            })
            .await;
        let written = match checked {
            Err(error) => Err(error),
            Ok(used) => {
                let write = move |latest: &Latest, _, batch: &mut Batch| {
                    let with = used.write(latest, batch, user)?;
                    console_sessions::raise(latest, batch, &before, hash, now)?;
                    let deed = audited::deed(latest, &act, Verb::ConsoleOpened, user)?;
                    let deed = deed.after(json!({ "with": with }));
                    audit::record(latest, batch, now, &[deed])?;
                    Ok::<_, ConsoleError>(())
                };
                self.store().commit(write).await
            }
        };
        let mut ceremonies = self.inner.ceremonies.lock();
        match &written {
            Err(ConsoleError::Code) => ceremonies.was_wrong(user, now),
            Ok(()) => ceremonies.was_right(user),
            Err(_) => {}
        }
        drop(ceremonies);
        written.map(|()| token)
    }
}

/// A second factor that was checked, and what its use changes.
enum Used {
    Recovery(TokenHash),
    /// The generator as it was, and as it is from now on.
    Code(CodeGeneratorRecord, CodeGeneratorRecord),
    /// The passkey as it was, and as it is from now on.
    Passkey(Box<(PasskeyRecord, PasskeyRecord)>),
}

impl Used {
    /// Uses it up, unless somebody has meanwhile. Returns what the audit trail says of it.
    fn write(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        user: UserSerial,
    ) -> Result<&'static str, ConsoleError> {
        match self {
            Self::Recovery(hash) => {
                if !latest.contains(&RECOVERY_CODE_BY_USER, &(user, *hash))? {
                    return Err(ConsoleError::Code);
                }
                batch.delete(&RECOVERY_CODE_BY_USER, &(user, *hash));
                Ok("recovery code")
            }
            Self::Code(before, after) => {
                if latest.get(&CODE_GENERATOR_BY_USER, &user)?.as_ref() != Some(before) {
                    return Err(ConsoleError::Code);
                }
                batch.put(&CODE_GENERATOR_BY_USER, &user, after);
                Ok("code")
            }
            Self::Passkey(passkey) => {
                let (before, after) = &**passkey;
                let key = (user, hash_of(&before.id));
                if latest.get(&PASSKEY_BY_USER, &key)?.as_ref() != Some(before) {
                    return Err(ConsoleError::TooLate);
                }
                batch.put(&PASSKEY_BY_USER, &key, after);
                Ok("passkey")
            }
        }
    }
}

/// Checks a one-time code or a recovery code.
fn checked_code(
    view: &impl Read,
    key: &SealingKey,
    user: UserSerial,
    typed: &str,
    now: u64,
) -> Result<Used, ConsoleError> {
    let hash = recovery_hash(typed);
    if view.contains(&RECOVERY_CODE_BY_USER, &(user, hash))? {
        return Ok(Used::Recovery(hash));
    }
    let Some(before) = view.get(&CODE_GENERATOR_BY_USER, &user)? else {
        return Err(ConsoleError::Code);
    };
    let secret = opened(key, user, &before).ok_or(ConsoleError::Sealed)?;
    let step = one_time_codes::step_of(&secret, typed, now, before.last_step);
    let after = CodeGeneratorRecord {
        last_step: step.ok_or(ConsoleError::Code)?,
        ..before.clone()
    };
    Ok(Used::Code(before, after))
}

/// Checks a passkey's signature.
fn checked_passkey(
    view: &impl Read,
    user: UserSerial,
    (answer, site): (&SignedByPasskey, &Site),
    (challenge, now): (&[u8], u64),
) -> Result<Used, ConsoleError> {
    let known = view.get(&PASSKEY_BY_USER, &(user, hash_of(&answer.id)))?;
    let before = known.ok_or(ConsoleError::NotFound)?;
    let after = PasskeyRecord {
        sign_count: webauthn::signed(answer, &before, site, challenge)?,
        used_at: Some(now),
        ..before.clone()
    };
    Ok(Used::Passkey(Box::new((before, after))))
}
