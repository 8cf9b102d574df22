//! What people's push rules make of events (client-server API, "Push Rules").
//!
//! Most people have the specification's rules and perhaps some muted rooms: for them the
//! digests in a room's changes say everything. Only rules of other kinds need the events
//! themselves.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use accounts::{PushContext, PushRules, matching_rule};
use graph::PowerLevels;
use model::{EventChange, RoomSerial, UserSerial, tables};
use parking_lot::Mutex;
use ruma_common::{
    OwnedUserId, UserId,
    push::{Action, AnyPushRuleRef, PushCondition, Ruleset},
};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    ClientEvent, EventReader, Ignored, ReadError, Rooms, StateMaps, Viewer,
    client_event::load_event, room_record, thread_subscriptions::follows_thread,
};

/// The most users whose rules are remembered.
const MAX_USERS: usize = 4_096;

/// An event that push rules are asked about.
pub struct PushSubject<'a, R> {
    view: &'a R,
    maps: StateMaps<'a, R>,
    room: RoomSerial,
    event: ClientEvent,
    json: Value,
    levels: OnceCell<Option<PowerLevels>>,
}

impl<'a, R: Read> PushSubject<'a, R> {
    /// The event as it is shown now: of a redacted one only what is left.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn new(reader: &EventReader<'a, R>, event: ClientEvent) -> Result<Self, ReadError> {
        let stored: Value =
            serde_json::from_slice(&reader.shown(&event)?).map_err(|_| crate::form::damaged())?;
        let mut json = json!({ "room_id": reader.room_id, "event_id": event.stored.event_id });
        for name in ["type", "sender", "state_key", "content", "origin_server_ts"] {
            if let Some(value) = stored.get(name) {
                json[name] = value.clone();
            }
        }
        Ok(Self {
            view: reader.view,
            maps: reader.maps(),
            room: reader.room,
            event,
            json,
            levels: OnceCell::new(),
        })
    }

    /// The event.
    pub fn event(&self) -> &ClientEvent {
        &self.event
    }

    /// The event's JSON with its ids, without `unsigned`.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The rule of a user that decides about the event; none if none matches. Whether the
    /// user may see the event, or sent it, is not asked here.
    ///
    /// # Errors
    /// If the database fails.
    pub fn rule<'r>(
        &self,
        rules: &'r Ruleset,
        user_id: &UserId,
    ) -> Result<Option<AnyPushRuleRef<'r>>, ReadError> {
        let asked = Asked {
            subject: self,
            user_id,
        };
        matching_rule(rules, &asked)
    }

    /// The power levels that held when the event was sent.
    fn levels(&self) -> Result<Option<&PowerLevels>, ReadError> {
        if let Some(known) = self.levels.get() {
            return Ok(known.as_ref());
        }
        let root = self.event.meta.state_before;
        let state = |event_type: &str| match self.maps.get(root, event_type, "")? {
            Some(serial) => load_event(self.view, serial).map(Some),
            None => Ok(None),
        };
        let levels = match state("m.room.create")? {
            Some(create) => {
                let given = state("m.room.power_levels")?;
                Some(PowerLevels::new(&create, given.as_ref())?)
            }
            None => None,
        };
        Ok(self.levels.get_or_init(|| levels).as_ref())
    }
}

/// A subject as one user's rules see it.
struct Asked<'s, 'a, R> {
    subject: &'s PushSubject<'a, R>,
    user_id: &'s UserId,
}

impl<R: Read> PushContext for Asked<'_, '_, R> {
    type Error = ReadError;

    fn event(&self) -> &Value {
        &self.subject.json
    }

    fn members(&self) -> Result<u64, ReadError> {
        let head = self
            .subject
            .view
            .get(&tables::HEAD_BY_ROOM, &self.subject.room)?;
        Ok(head.map_or(0, |head| head.joined))
    }

    fn display_name(&self) -> Result<Option<String>, ReadError> {
        member_name(self.subject.view, self.subject.room, self.user_id.as_str())
    }

    fn sender_may_notify(&self, kind: &str) -> Result<bool, ReadError> {
        let sender = self.subject.json["sender"].as_str().unwrap_or_default();
        let Ok(sender) = OwnedUserId::try_from(sender) else {
            return Ok(false);
        };
        let levels = self.subject.levels()?;
        Ok(levels.is_some_and(|levels| levels.user(&sender).reaches(levels.to_notify(kind))))
    }

    fn follows_thread(&self) -> Result<Option<bool>, ReadError> {
        let relation = &self.subject.json["content"]["m.relates_to"];
        let root = relation["event_id"].as_str();
        let root = root.filter(|_| relation["rel_type"] == "m.thread");
        let view = self.subject.view;
        let user = view.get(&tables::USER_BY_ID, &self.user_id.to_string())?;
        match (root, user) {
            (Some(root), Some(user)) => {
                let room = self.subject.room;
                Ok(Some(follows_thread(view, user, room, root)?))
            }
            _ => Ok(None),
        }
    }
}

/// The name that a member goes by in a room.
///
/// # Errors
/// If the database fails.
pub fn member_name(
    view: &impl Read,
    room: RoomSerial,
    user_id: &str,
) -> Result<Option<String>, ReadError> {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        displayname: Option<String>,
    }
    let key = (room, "m.room.member".to_owned(), user_id.to_owned());
    let Some(serial) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(None);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
    let event = stored.and_then(|stored| serde_json::from_slice::<Event>(&stored.json).ok());
    Ok(event.and_then(|event| event.content.displayname))
}

/// Whether a rule's actions notify, and whether they highlight.
pub(crate) fn weight_of(actions: &[Action]) -> Weight {
    Weight {
        notifies: actions.iter().any(Action::should_notify),
        highlights: actions.iter().any(Action::is_highlight),
    }
}

/// What an event is worth in a user's unread counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) notifies: bool,
    pub(crate) highlights: bool,
}

impl Weight {
    /// What the specification's rules make of a digest.
    fn by_default(change: &EventChange, user: UserSerial) -> Self {
        let highlights = change.mentions_room || change.mentions.contains(&user);
        Self {
            notifies: change.counts || highlights,
            highlights,
        }
    }
}

/// How a user's rules decide in one room.
enum How {
    /// As the specification's: the digest is enough.
    Digest,
    /// As those, but only mentions notify.
    Mentions,
    /// The same for every event.
    Always(Weight),
    /// By the event itself.
    Ask,
}

/// Weighs the events of one room for one user.
pub(crate) struct Scales<'a> {
    rooms: &'a Rooms,
    view: &'a Snapshot,
    room: RoomSerial,
    user: UserSerial,
    rules: Arc<PushRules>,
    ignored: Arc<Ignored>,
    how: How,
    /// Whether the subscriptions of threads decide (MSC4306).
    asks_threads: bool,
    /// For events that must be read.
    reader: OnceCell<EventReader<'a, Snapshot>>,
}

impl<'a> Scales<'a> {
    pub(crate) fn new(
        rooms: &'a Rooms,
        view: &'a Snapshot,
        room: RoomSerial,
        user: UserSerial,
        rules: Arc<PushRules>,
    ) -> Result<Self, ReadError> {
        let how = if is_plain(&rules) {
            How::Digest
        } else {
            how(&rules, &room_record(view, room)?.0.room_id)
        };
        Ok(Self {
            rooms,
            view,
            room,
            user,
            asks_threads: rules.rules.postcontent.iter().any(|rule| rule.enabled),
            rules,
            ignored: rooms.ignored_by(view, user)?,
            how,
            reader: OnceCell::new(),
        })
    }

    /// What an event of others is worth.
    pub(crate) fn weigh(&self, change: &EventChange) -> Result<Weight, ReadError> {
        if self.ignored.has(change.sender) {
            return Ok(Weight::default());
        }
        let by_default = Weight::by_default(change, self.user);
        match self.how {
            // Whether the user follows the thread decides.
            How::Digest | How::Mentions if self.asks_threads && change.thread.is_some() => {
                self.ask(change)
            }
            How::Digest => Ok(by_default),
            How::Mentions => Ok(Weight {
                notifies: by_default.highlights,
                ..by_default
            }),
            How::Always(weight) => Ok(weight),
            How::Ask => self.ask(change),
        }
    }

    fn ask(&self, change: &EventChange) -> Result<Weight, ReadError> {
        let reader = match self.reader.get() {
            Some(reader) => reader,
            None => {
                let viewer = Viewer {
                    user: self.user,
                    device: None,
                };
                let secret = self.rooms.inner.store.secret();
                let reader = EventReader::new(self.view, self.room, secret, viewer, 0)?;
                self.reader.get_or_init(|| reader)
            }
        };
        let (Some(event), Ok(user_id)) = (
            reader.load(change.event)?,
            UserId::parse(reader.viewer_id()),
        ) else {
            return Ok(Weight::default());
        };
        let subject = PushSubject::new(reader, event)?;
        let rule = subject.rule(&self.rules.rules, &user_id)?;
        Ok(rule.map_or(Weight::default(), |rule| weight_of(rule.actions())))
    }
}

/// Whether these are the specification's rules and no others that are on.
fn is_plain(rules: &PushRules) -> bool {
    let is_own = |rule: AnyPushRuleRef<'_>| !rule.is_server_default() && rule.enabled();
    rules.keeps_defaults && !rules.rules.iter().any(is_own)
}

fn how(rules: &PushRules, room_id: &str) -> How {
    let relevant: Vec<AnyPushRuleRef<'_>> = rules
        .rules
        .iter()
        .filter(|rule| rule.enabled() && reach(*rule, room_id) != Reach::Nothing)
        .collect();
    if let Some(first) = relevant.first()
        && reach(*first, room_id) == Reach::Everything
    {
        return How::Always(weight_of(first.actions()));
    }
    if !rules.keeps_defaults {
        return How::Ask;
    }
    let is_own = |rule: &&AnyPushRuleRef<'_>| !rule.is_server_default();
    let own: Vec<&AnyPushRuleRef<'_>> = relevant.iter().filter(is_own).collect();
    match own.as_slice() {
        [] => How::Digest,
        [AnyPushRuleRef::Room(rule)] if weight_of(&rule.actions) == Weight::default() => {
            How::Mentions
        }
        _ => How::Ask,
    }
}

/// Which events of a room a rule can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Nothing,
    Some,
    Everything,
}

fn reach(rule: AnyPushRuleRef<'_>, room_id: &str) -> Reach {
    match rule {
        AnyPushRuleRef::Room(rule) if rule.rule_id == room_id => Reach::Everything,
        AnyPushRuleRef::Room(_) => Reach::Nothing,
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => {
            // The condition by which clients mute a room.
            let is_for = |condition: &PushCondition| match condition {
                PushCondition::EventMatch(asked) if asked.key == "room_id" => {
                    // Wildcards are left to the rule itself.
                    (!asked.pattern.contains(['*', '?']))
                        .then(|| asked.pattern.eq_ignore_ascii_case(room_id))
                }
                _ => None,
            };
            let known: Vec<Option<bool>> = rule.conditions.iter().map(is_for).collect();
            if known.contains(&Some(false)) {
                Reach::Nothing
            } else if known.contains(&None) {
                Reach::Some
            } else {
                Reach::Everything
            }
        }
        _ => Reach::Some,
    }
}

/// The rules of users who lately asked for their counts.
#[derive(Default)]
pub(crate) struct RulesCache {
    users: Mutex<HashMap<UserSerial, Known>>,
}

#[derive(Clone)]
struct Known {
    rules: Arc<PushRules>,
    /// The position at which they were the user's rules.
    at: Position,
}

impl Rooms {
    /// A user's push rules as of `view`, without reading them anew where they are certainly the same.
    ///
    /// # Errors
    /// If the database fails.
    pub fn rules_of(
        &self,
        view: &Snapshot,
        user: UserSerial,
    ) -> Result<Arc<PushRules>, StoreError> {
        let cache = &self.inner.rules.users;
        let known = cache.lock().get(&user).cloned();
        let known = known.filter(|known| known.at <= view.position());
        let store = &self.inner.store;
        if let Some(known) = &known
            && !store.changed_since(model::user_scope(user), known.at)
        {
            return Ok(known.rules.clone());
        }
        let rules = match known {
            Some(known) if accounts::push_rules_position(view, user)? == known.rules.position => {
                known.rules
            }
            _ => Arc::new(read_rules(view, user)?),
        };
        let mut users = cache.lock();
        if users.len() >= MAX_USERS {
            users.clear();
        }
        let is_newer = |known: &Known| known.at < view.position();
        if users.get(&user).is_none_or(is_newer) {
            let at = view.position();
            let rules = rules.clone();
            users.insert(user, Known { rules, at });
        }
        Ok(rules)
    }
}

fn read_rules(view: &Snapshot, user: UserSerial) -> Result<PushRules, StoreError> {
    let user_id = model::user_id(view, user)?.and_then(|id| OwnedUserId::try_from(id).ok());
    match user_id {
        Some(user_id) => accounts::stored_push_rules(view, user, &user_id),
        None => Ok(PushRules {
            rules: Ruleset::new(),
            position: Position(0),
            keeps_defaults: true,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "!here:a.test";

    fn decided(own: Value) -> &'static str {
        let user_id = ruma_common::user_id!("@alice:a.test");
        let mut rules = serde_json::to_value(Ruleset::server_default(user_id)).unwrap();
        for (kind, list) in own.as_object().unwrap() {
            let mut whole = list.as_array().unwrap().clone();
            let given = rules[kind].as_array().cloned().unwrap_or_default();
            let place = whole.len().min(given.len().min(1));
            whole.extend(given.iter().skip(place).cloned());
            whole.splice(0..0, given.into_iter().take(place));
            rules[kind] = Value::Array(whole);
        }
        let rules = PushRules {
            rules: serde_json::from_value(rules).unwrap(),
            position: Position(1),
            keeps_defaults: true,
        };
        match how(&rules, ROOM) {
            How::Digest => "digest",
            How::Mentions => "mentions",
            How::Always(weight) if weight == Weight::default() => "muted",
            How::Always(_) => "always",
            How::Ask => "ask",
        }
    }

    fn rule(id: &str, actions: Value, more: Value) -> Value {
        let mut rule =
            json!({ "rule_id": id, "default": false, "enabled": true, "actions": actions });
        for (name, value) in more.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    }

    #[test]
    fn common_rules_need_no_event() {
        let of_room = |room: &str| {
            let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
            json!({ "conditions": [condition] })
        };
        let off = json!({ "enabled": false, "pattern": "x" });
        for (own, expected) in [
            (json!({}), "digest"),
            (
                json!({ "override": [rule("a", json!([]), of_room(ROOM))] }),
                "muted",
            ),
            (
                json!({ "override": [rule("a", json!(["notify"]), of_room(ROOM))] }),
                "always",
            ),
            (
                json!({ "override": [rule("a", json!([]), of_room("!there:a.test"))] }),
                "digest",
            ),
            (
                json!({ "override": [rule("a", json!([]), of_room("!*:a.test"))] }),
                "ask",
            ),
            (
                json!({ "override": [rule("a", json!([]), json!({ "conditions": [] }))] }),
                "muted",
            ),
            (
                json!({ "room": [rule(ROOM, json!([]), json!({}))] }),
                "mentions",
            ),
            (
                json!({ "room": [rule("!there:a.test", json!([]), json!({}))] }),
                "digest",
            ),
            (
                json!({ "room": [rule(ROOM, json!(["notify"]), json!({}))] }),
                "ask",
            ),
            (
                json!({ "content": [rule("w", json!(["notify"]), json!({ "pattern": "x" }))] }),
                "ask",
            ),
            (
                json!({ "content": [rule("w", json!(["notify"]), off)] }),
                "digest",
            ),
            (
                json!({ "sender": [rule("@bob:a.test", json!([]), json!({}))] }),
                "ask",
            ),
        ] {
            assert_eq!(decided(own.clone()), expected, "{own}");
        }
    }
}
