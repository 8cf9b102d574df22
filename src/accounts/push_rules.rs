//! Push rules: account data that the server looks after (client-server API, "Push Rules").

use model::{AccountDataRecord, Changes, UserSerial, tables::ACCOUNT_DATA_BY_USER};
use ruma_common::{
    OwnedUserId, UserId,
    push::{
        Action, InsertPushRuleError, NewPushRule, RemovePushRuleError, RuleKind, RuleNotFoundError,
        Ruleset,
    },
};
use serde::{Deserialize, Serialize};
use store::{Read, StoreError};

use crate::{
    AccountDataError, Accounts,
    account_data::{self, NewAccountData},
    json,
};

/// The type of account data that push rules are.
pub(crate) const EVENT_TYPE: &str = "m.push_rules";
/// How often a change is tried when others change the rules at the same time.
const TRIES: usize = 5;
/// The most rules that one user may have added.
const MAX_RULES: usize = 5_000;

/// Why push rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRuleError {
    /// There is no such rule (`M_NOT_FOUND`).
    #[error("there is no such push rule")]
    NotFound,
    /// The server's own rules can be switched off, not removed (`M_INVALID_PARAM`).
    #[error("this is one of the server's own push rules")]
    ServerDefault,
    /// The rule or its place is not one (`M_INVALID_PARAM`, `M_UNKNOWN` if the other rule does not exist).
    #[error(transparent)]
    Insert(InsertPushRuleError),
    /// The user has as many rules as one may have.
    #[error("this user has too many push rules")]
    TooMany,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// Others keep changing the rules at the same time.
    #[error("the push rules are being changed by another device: try again")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RuleNotFoundError> for PushRuleError {
    fn from(_: RuleNotFoundError) -> Self {
        Self::NotFound
    }
}

/// The content of `m.push_rules`.
#[derive(Serialize, Deserialize)]
struct Content {
    global: Ruleset,
}

/// The content of `m.push_rules` of a new user.
pub(crate) fn server_default(user_id: &UserId) -> Vec<u8> {
    written(Ruleset::server_default(user_id))
}

fn written(global: Ruleset) -> Vec<u8> {
    // Rules are made of text, numbers and lists: always writable.
    serde_json::to_vec(&Content { global }).unwrap_or_default()
}

/// A user's push rules.
///
/// # Errors
/// If the database fails.
pub fn push_rules(view: &impl Read, user: UserSerial) -> Result<Option<Ruleset>, StoreError> {
    stored(view, user)?
        .map(|record| parse(&record.json))
        .transpose()
}

fn stored(view: &impl Read, user: UserSerial) -> Result<Option<AccountDataRecord>, StoreError> {
    let key = (user, model::RoomSerial(0), EVENT_TYPE.to_owned());
    view.get(&ACCOUNT_DATA_BY_USER, &key)
}

fn parse(bytes: &[u8]) -> Result<Ruleset, StoreError> {
    json::parse::<Content>(bytes, ACCOUNT_DATA_BY_USER.name).map(|content| content.global)
}

impl Accounts {
    /// Adds a push rule or puts another in its place, before or after other rules of the user.
    ///
    /// # Errors
    /// [`PushRuleError`].
    pub async fn put_push_rule(
        &self,
        user: UserSerial,
        rule: NewPushRule,
        before: Option<String>,
        after: Option<String>,
    ) -> Result<(), PushRuleError> {
        self.change_push_rules(user, move |rules| {
            if rules.iter().count() >= MAX_RULES {
                return Err(PushRuleError::TooMany);
            }
            rules
                .insert(rule.clone(), after.as_deref(), before.as_deref())
                .map_err(PushRuleError::Insert)
        })
        .await
    }

    /// Removes a push rule of the user's own.
    ///
    /// # Errors
    /// [`PushRuleError`].
    pub async fn delete_push_rule(
        &self,
        user: UserSerial,
        kind: RuleKind,
        rule_id: String,
    ) -> Result<(), PushRuleError> {
        self.change_push_rules(user, move |rules| {
            rules
                .remove(kind.clone(), &rule_id)
                .map_err(|error| match error {
                    RemovePushRuleError::ServerDefault => PushRuleError::ServerDefault,
                    _ => PushRuleError::NotFound,
                })
        })
        .await
    }

    /// Switches a push rule on or off.
    ///
    /// # Errors
    /// [`PushRuleError`].
    pub async fn set_push_rule_enabled(
        &self,
        user: UserSerial,
        kind: RuleKind,
        rule_id: String,
        enabled: bool,
    ) -> Result<(), PushRuleError> {
        self.change_push_rules(user, move |rules| {
            Ok(rules.set_enabled(kind.clone(), &rule_id, enabled)?)
        })
        .await
    }

    /// Sets what a push rule does.
    ///
    /// # Errors
    /// [`PushRuleError`].
    pub async fn set_push_rule_actions(
        &self,
        user: UserSerial,
        kind: RuleKind,
        rule_id: String,
        actions: Vec<Action>,
    ) -> Result<(), PushRuleError> {
        self.change_push_rules(user, move |rules| {
            Ok(rules.set_actions(kind.clone(), &rule_id, actions.clone())?)
        })
        .await
    }

    /// Reads the rules, changes them, and writes them if nobody else has meanwhile.
    async fn change_push_rules(
        &self,
        user: UserSerial,
        change: impl Fn(&mut Ruleset) -> Result<(), PushRuleError>,
    ) -> Result<(), PushRuleError> {
        for _ in 0..TRIES {
            let read = move |latest: &store::Latest| {
                let record = stored(latest, user)?;
                let user_id = model::user_id(latest, user)?;
                Ok::<_, StoreError>((record, user_id))
            };
            let (record, user_id) = self.store().prepare(read).await?;
            let user_id = user_id.and_then(|id| OwnedUserId::try_from(id).ok());
            let user_id = user_id.ok_or(PushRuleError::NoAccount)?;
            let mut rules = match &record {
                Some(record) => parse(&record.json)?,
                None => Ruleset::server_default(&user_id),
            };
            change(&mut rules)?;
            let seen = record.map(|record| record.position);
            if self.replace_push_rules(user, seen, written(rules)).await? {
                return Ok(());
            }
        }
        Err(PushRuleError::Contended)
    }

    /// Whether the rules written at `seen` were still there to be replaced.
    async fn replace_push_rules(
        &self,
        user: UserSerial,
        seen: Option<u64>,
        json: Vec<u8>,
    ) -> Result<bool, PushRuleError> {
        let event_type = EVENT_TYPE.to_owned();
        let new = NewAccountData {
            user,
            room: None,
            event_type,
            json,
        };
        self.store()
            .commit(move |latest, position, batch| {
                if stored(latest, user)?.map(|record| record.position) != seen {
                    return Ok(false);
                }
                match account_data::write(latest, batch, &mut Changes::at(position), new) {
                    Ok(()) => Ok(true),
                    Err(AccountDataError::Store(error)) => Err(error.into()),
                    Err(_) => Err(PushRuleError::TooMany),
                }
            })
            .await
    }
}
