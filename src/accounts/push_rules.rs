//! Push rules: account data that the server looks after (client-server API, "Push Rules").

use model::{
    AccountDataRecord, Changes, UserSerial,
    tables::{ACCOUNT_BY_USER, ACCOUNT_DATA_BY_USER},
};
use ruma_common::{
    OwnedUserId, UserId,
    push::{
        Action, ConditionalPushRule, EventMatchConditionData, InsertPushRuleError, NewPushRule,
        PushCondition, RemovePushRuleError, RuleKind, RuleNotFoundError, Ruleset, ScalarJsonValue,
    },
};
use serde::{Deserialize, Serialize};
use store::{Position, Read, StoreError};

use crate::{
    AccountDataError, Accounts,
    account_data::{self, NewAccountData},
    json,
};

/// The type of account data that push rules are.
pub(crate) const EVENT_TYPE: &str = "m.push_rules";
/// How often a change is tried when others change the rules at the same time.
const TRIES: usize = 5;
/// The most rules that one user may have, the server's own among them.
const MAX_RULES: usize = 1_000;
/// The longest id of a rule, in bytes.
const MAX_RULE_ID: usize = 255;
/// The longest rule, in bytes of its conditions or pattern and its actions.
const MAX_RULE: usize = 8_192;

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
    /// The rule or its id is too long (`M_INVALID_PARAM`).
    #[error("a push rule has at most 8192 bytes and its id at most 255")]
    TooLong,
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
pub(crate) fn server_default(user_id: &UserId, follows_threads: bool) -> Vec<u8> {
    written(defaults(user_id, follows_threads))
}

/// The rules of somebody who has none of their own.
pub fn default_push_rules(user_id: &UserId) -> Ruleset {
    defaults(user_id, false)
}

/// The rules of the server. Those by which the subscriptions of threads decide (MSC4306)
/// are among them where the server has them in use: clients that know nothing of
/// subscriptions would be told of no thread any more.
fn defaults(user_id: &UserId, follows_threads: bool) -> Ruleset {
    let mut rules = Ruleset::server_default(user_id);
    if !follows_threads {
        rules.postcontent.clear();
    }
    let all = std::mem::take(&mut rules.override_).into_iter();
    rules.override_ = all.map(poll_by_pattern).collect();
    let all = std::mem::take(&mut rules.underride).into_iter();
    rules.underride = all.map(poll_by_pattern).collect();
    rules
}

/// A rule of polls (MSC3930) with its type as a pattern, as the proposal had it first and
/// clients that match events themselves know it: what matches is the same.
fn poll_by_pattern(mut rule: ConditionalPushRule) -> ConditionalPushRule {
    if !rule.rule_id.starts_with(".org.matrix.msc3930.") {
        return rule;
    }
    for condition in &mut rule.conditions {
        if let PushCondition::EventPropertyIs(is) = condition
            && let ScalarJsonValue::String(value) = &is.value
        {
            let pattern = EventMatchConditionData::new(is.key.clone(), value.clone());
            *condition = pattern.into();
        }
    }
    rule
}

/// The same rules with those of the server as they are now: what the user has made of
/// each stays.
fn settled(mut rules: Ruleset, user_id: &UserId, follows_threads: bool) -> Ruleset {
    let mut of_threads = std::mem::take(&mut rules.postcontent);
    let mut defaults = defaults(user_id, follows_threads);
    let new = std::mem::take(&mut defaults.postcontent);
    rules.update_with_server_default(defaults);
    rules.postcontent = new
        .into_iter()
        .map(|rule| of_threads.shift_take(rule.rule_id.as_str()).unwrap_or(rule))
        .collect();
    rules
}

fn written(global: Ruleset) -> Vec<u8> {
    // Rules are made of text, numbers and lists: always writable.
    serde_json::to_vec(&Content { global }).unwrap_or_default()
}

/// A user's push rules with the place where they were changed last.
#[derive(Clone, Debug)]
pub struct PushRules {
    /// The rules.
    pub rules: Ruleset,
    /// The commit that changed them last.
    pub position: Position,
    /// Whether all rules of the server are there and as the specification has them:
    /// then only the user's own rules make a difference.
    pub keeps_defaults: bool,
}

/// A user's push rules for those who apply them; those of the server if there are none.
///
/// # Errors
/// If the database fails.
pub fn stored_push_rules(
    view: &impl Read,
    user: UserSerial,
    user_id: &UserId,
) -> Result<PushRules, StoreError> {
    let Some(record) = stored(view, user)? else {
        return Ok(PushRules {
            rules: defaults(user_id, false),
            position: Position(0),
            keeps_defaults: true,
        });
    };
    let rules = parse(&record.json)?;
    let default = defaults(user_id, !rules.postcontent.is_empty());
    Ok(PushRules {
        keeps_defaults: server_rules(&rules) == server_rules(&default),
        rules,
        position: Position(record.position),
    })
}

/// The commit that changed a user's push rules last, if there are any.
///
/// # Errors
/// If the database fails.
pub fn push_rules_position(view: &impl Read, user: UserSerial) -> Result<Position, StoreError> {
    let record = stored(view, user)?;
    Ok(record.map_or(Position(0), |record| Position(record.position)))
}

/// The rules of the server among these, as text that can be compared.
fn server_rules(rules: &Ruleset) -> Vec<String> {
    let of_server = rules.iter().filter(|rule| rule.is_server_default());
    of_server
        .map(|rule| {
            let actions = serde_json::to_string(rule.actions()).unwrap_or_default();
            format!("{} {} {actions}", rule.rule_id(), rule.enabled())
        })
        .collect()
}

/// The rule, if it is not too long.
fn checked(rule: NewPushRule) -> Result<NewPushRule, PushRuleError> {
    let (actions, rest) = match &rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => {
            let conditions = serde_json::to_vec(&rule.conditions).unwrap_or_default();
            (&rule.actions, conditions.len())
        }
        NewPushRule::Content(rule) => (&rule.actions, rule.pattern.len()),
        NewPushRule::Room(rule) => (&rule.actions, 0),
        NewPushRule::Sender(rule) => (&rule.actions, 0),
        // Of what decides about threads there are the server's own rules alone.
        NewPushRule::PostContent(_) => return Err(PushRuleError::ServerDefault),
        // There is no other kind.
        _ => return Err(PushRuleError::NotFound),
    };
    if rest + length(actions) > MAX_RULE || rule.rule_id().len() > MAX_RULE_ID {
        return Err(PushRuleError::TooLong);
    }
    Ok(rule)
}

fn length(actions: &[Action]) -> usize {
    serde_json::to_vec(actions).unwrap_or_default().len()
}

/// Puts a rule into its place: a new one before all others of the user unless a place is
/// given; one that is there already keeps its place unless another is given.
fn insert(
    rules: &mut Ruleset,
    rule: NewPushRule,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<(), PushRuleError> {
    let (kind, rule_id) = (rule.kind(), rule.rule_id().to_owned());
    let earlier = rules.get(kind.clone(), &rule_id).map(|rule| rule.enabled());
    if earlier.is_none() && rules.iter().count() >= MAX_RULES {
        return Err(PushRuleError::TooMany);
    }
    let neighbours = [before, after];
    if neighbours.contains(&Some(rule_id.as_str())) {
        return Err(PushRuleError::Insert(InsertPushRuleError::UnknownRuleId));
    }
    let moves = before.is_some() || after.is_some();
    if moves && earlier.is_some() && !rule_id.starts_with('.') {
        // Inserted anew, or it would count among its neighbours.
        rules
            .remove(kind.clone(), &rule_id)
            .map_err(|_| PushRuleError::NotFound)?;
    }
    rules
        .insert(rule, after, before)
        .map_err(PushRuleError::Insert)?;
    if let Some(enabled) = earlier {
        rules.set_enabled(kind, &rule_id, enabled)?;
    }
    Ok(())
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

/// The id of a user whose rules of the server are not as they should be.
fn unsettled(
    view: &impl Read,
    user: UserSerial,
    follows_threads: bool,
) -> Result<Option<OwnedUserId>, StoreError> {
    let Some(record) = stored(view, user)? else {
        return Ok(None);
    };
    let user_id = model::user_id(view, user)?.and_then(|id| OwnedUserId::try_from(id).ok());
    let Some(user_id) = user_id else {
        return Ok(None);
    };
    let rules = parse(&record.json)?;
    let before = written(rules.clone());
    let after = written(settled(rules, &user_id, follows_threads));
    Ok((before != after).then_some(user_id))
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
        let rule = checked(rule)?;
        self.change_push_rules(user, move |rules| {
            insert(rules, rule.clone(), before.as_deref(), after.as_deref())
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
        if length(&actions) > MAX_RULE {
            return Err(PushRuleError::TooLong);
        }
        self.change_push_rules(user, move |rules| {
            Ok(rules.set_actions(kind.clone(), &rule_id, actions.clone())?)
        })
        .await
    }

    /// Gives everybody the server's rules as they are now, and returns for how many that
    /// made a difference: to be called once at start, as a version or an option may have
    /// changed.
    ///
    /// # Errors
    /// [`PushRuleError`].
    pub async fn settle_push_rules(&self) -> Result<usize, PushRuleError> {
        let follows_threads = self.inner.options.thread_subscriptions;
        let old = self
            .store()
            .read_long(move |view| {
                let mut old = Vec::new();
                for row in view.scan(&ACCOUNT_BY_USER, &()) {
                    let (user, _) = row?;
                    if let Some(user_id) = unsettled(view, user, follows_threads)? {
                        old.push((user, user_id));
                    }
                }
                Ok::<_, StoreError>(old)
            })
            .await?;
        for (user, user_id) in &old {
            self.change_push_rules(*user, |rules| {
                *rules = settled(std::mem::take(rules), user_id, follows_threads);
                Ok(())
            })
            .await?;
        }
        Ok(old.len())
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
                None => defaults(&user_id, self.inner.options.thread_subscriptions),
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
