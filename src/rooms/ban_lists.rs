//! Ban lists (client-server API, "Moderation policy lists"): rooms whose state names people, rooms
//! and servers that are not wanted. An administrator says which of them this server heeds.
//!
//! The rules are kept in memory, compiled, until something happens in one of the lists.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use accounts::matches_pattern;
use audit::Deed;
use model::{
    BanListRecord, Membership, RoomSerial, ban_lists_scope, room_scope,
    tables::{self, BAN_LIST, STATE_BY_ROOM},
};
use parking_lot::Mutex;
use ruma_common::{CanonicalJsonValue, OwnedServerName, RoomId, ServerName, UserId};
use serde::Deserialize;
use store::{Latest, Position, Read, Store, StoreError};

use crate::{AppendError, NewEvent, Rooms, Sender, staging::Staging};

/// The most rules of one list that are heeded.
const MOST_RULES: usize = 50_000;
/// The most lists.
const MOST_LISTS: usize = 50;

/// What a rule is about, and the types of the events that make such rules: today's, and those of
/// before.
const KINDS: [(Subject, [&str; 3]); 3] = [
    (
        Subject::User,
        [
            "m.policy.rule.user",
            "m.room.rule.user",
            "org.matrix.mjolnir.rule.user",
        ],
    ),
    (
        Subject::Room,
        [
            "m.policy.rule.room",
            "m.room.rule.room",
            "org.matrix.mjolnir.rule.room",
        ],
    ),
    (
        Subject::Server,
        [
            "m.policy.rule.server",
            "m.room.rule.server",
            "org.matrix.mjolnir.rule.server",
        ],
    ),
];

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// People.
    User,
    /// Rooms.
    Room,
    /// Servers.
    Server,
}

impl Subject {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Room => "room",
            Self::Server => "server",
        }
    }
}

/// A rule of a ban list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRule {
    /// What it is about.
    pub subject: Subject,
    /// Whom or what it names; may hold `*` and `?`.
    pub entity: String,
    /// Why, in the list's words.
    pub reason: String,
}

/// The rules of all lists.
#[derive(Default)]
struct Rules {
    exact: HashMap<(Subject, String), Arc<BanRule>>,
    patterns: BTreeMap<Subject, Vec<Arc<BanRule>>>,
}

impl Rules {
    fn add(&mut self, rule: BanRule) {
        let rule = Arc::new(rule);
        if rule.entity.contains(['*', '?']) {
            let patterns = self.patterns.entry(rule.subject).or_default();
            patterns.push(rule);
        } else {
            let key = (rule.subject, rule.entity.to_lowercase());
            self.exact.insert(key, rule);
        }
    }

    fn find(&self, subject: Subject, name: &str) -> Option<Arc<BanRule>> {
        let name = name.to_lowercase();
        let mut patterns = self.patterns.get(&subject).into_iter().flatten();
        let matching = |rule: &&Arc<BanRule>| {
            let pattern = rule.entity.to_lowercase();
            matches_pattern(pattern.as_bytes(), name.as_bytes())
        };
        let found = patterns.find(matching).cloned();
        found.or_else(|| self.exact.get(&(subject, name.clone())).cloned())
    }
}

/// The rules as of a commit, and the rooms that they are of.
struct Kept {
    at: Position,
    lists: Vec<RoomSerial>,
    rules: Arc<Rules>,
}

/// The rules of all ban lists that this server heeds, kept in memory. Clones share them.
#[derive(Clone)]
pub struct BanLists {
    store: Store,
    own: OwnedServerName,
    kept: Arc<Mutex<Option<Kept>>>,
}

impl BanLists {
    pub(crate) fn new(store: Store, own: OwnedServerName) -> Self {
        Self {
            store,
            own,
            kept: Arc::default(),
        }
    }

    fn rules(&self) -> Result<Arc<Rules>, StoreError> {
        let mut kept = self.kept.lock();
        if let Some(kept) = &*kept {
            let lists = kept.lists.iter().map(|room| room_scope(*room));
            let scopes: Vec<_> = lists.chain([ban_lists_scope()]).collect();
            if !self.store.any_changed_since(&scopes, kept.at) {
                return Ok(kept.rules.clone());
            }
        }
        let view = self.store.snapshot();
        let mut rules = Rules::default();
        let lists = ban_lists(&view)?;
        for rule in lists.iter().flat_map(|list| &list.rules) {
            rules.add(rule.clone());
        }
        let rules = Arc::new(rules);
        *kept = Some(Kept {
            at: view.position(),
            lists: lists.iter().map(|list| list.room).collect(),
            rules: rules.clone(),
        });
        Ok(rules)
    }

    /// Whether a ban list names a server. This one is always wanted.
    pub fn is_unwanted_server(&self, server: &ServerName) -> bool {
        if server == self.own {
            return false;
        }
        match self.rules() {
            Ok(rules) => rules.find(Subject::Server, server.host()).is_some(),
            Err(error) => {
                log::error!("the ban lists cannot be read: {error}");
                false
            }
        }
    }
}

/// A ban list that this server heeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanList {
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// Who named it, and when.
    pub record: BanListRecord,
    /// Its rules.
    pub rules: Vec<BanRule>,
}

/// The ban lists that this server heeds, with their rules.
///
/// # Errors
/// If the database fails.
pub fn ban_lists(view: &impl Read) -> Result<Vec<BanList>, StoreError> {
    let mut lists = Vec::new();
    for row in view.scan(&BAN_LIST, &()) {
        let (room, record) = row?;
        lists.push(BanList {
            room,
            room_id: model::room_id(view, room)?.unwrap_or_default(),
            record,
            rules: rules_of(view, room)?,
        });
    }
    Ok(lists)
}

fn rules_of(view: &impl Read, room: RoomSerial) -> Result<Vec<BanRule>, StoreError> {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        entity: String,
        recommendation: String,
        #[serde(default)]
        reason: String,
    }
    let mut rules = Vec::new();
    for (subject, types) in KINDS {
        for event_type in types {
            for row in view.scan(&STATE_BY_ROOM, &(room, event_type.to_owned())) {
                let (_, serial) = row?;
                if view.contains(&tables::REDACTION_BY_EVENT, &serial)? {
                    continue;
                }
                let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
                let event: Option<Event> =
                    stored.and_then(|stored| serde_json::from_slice(&stored.json).ok());
                let Some(Event { content }) = event else {
                    continue;
                };
                let bans = ["m.ban", "org.matrix.mjolnir.ban"];
                if !bans.contains(&content.recommendation.as_str()) {
                    continue;
                }
                if rules.len() == MOST_RULES {
                    log::warn!(
                        "a ban list has more than {MOST_RULES} rules: the others are not heeded"
                    );
                    return Ok(rules);
                }
                rules.push(BanRule {
                    subject,
                    entity: content.entity,
                    reason: content.reason,
                });
            }
        }
    }
    Ok(rules)
}

impl Rooms {
    /// The rules of ban lists, for who must not hold the rooms: those who know other servers.
    pub fn ban_lists(&self) -> &BanLists {
        &self.inner.ban_lists
    }

    /// The rule of a ban list by which a user is not wanted: it names them, or their server.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unwanted_user(&self, user_id: &UserId) -> Result<Option<Arc<BanRule>>, StoreError> {
        let rules = self.inner.ban_lists.rules()?;
        if let Some(rule) = rules.find(Subject::User, user_id.as_str()) {
            return Ok(Some(rule));
        }
        Ok(match self.is_local(user_id) {
            true => None,
            false => rules.find(Subject::Server, user_id.server_name().host()),
        })
    }

    /// The rule of a ban list by which a room is not wanted.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unwanted_room(&self, room_id: &RoomId) -> Result<Option<Arc<BanRule>>, StoreError> {
        Ok(self
            .inner
            .ban_lists
            .rules()?
            .find(Subject::Room, room_id.as_str()))
    }

    /// Refuses somebody who wants into a room, or is invited there, if a ban list names them or
    /// the room.
    ///
    /// # Errors
    /// [`AppendError::Ruled`].
    pub fn must_be_wanted(
        &self,
        room_id: Option<&RoomId>,
        people: &[&UserId],
    ) -> Result<(), AppendError> {
        if let Some(room_id) = room_id
            && let Some(rule) = self.unwanted_room(room_id)?
        {
            return Err(refusal("this room", &rule));
        }
        for user_id in people {
            if let Some(rule) = self.unwanted_user(user_id)? {
                return Err(refusal(user_id.as_str(), &rule));
            }
        }
        Ok(())
    }

    /// Heeds a room's ban list, or does not any more. `deed` is what the audit trail is told.
    /// Returns whether it was heeded.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; [`AppendError::BadState`] if there are too many.
    pub async fn set_ban_list(
        &self,
        room: RoomSerial,
        list: Option<BanListRecord>,
        deed: Deed,
    ) -> Result<bool, AppendError> {
        let now = self.inner.clock.now().0;
        self.inner
            .store
            .commit(move |latest, _, batch| {
                if list.is_some() && !latest.contains(&tables::HEAD_BY_ROOM, &room)? {
                    return Err(AppendError::UnknownRoom);
                }
                let was = latest.contains(&BAN_LIST, &room)?;
                if was == list.is_some() {
                    return Ok(was);
                }
                match list {
                    Some(list) => {
                        if latest.scan(&BAN_LIST, &()).count() >= MOST_LISTS {
                            let text = format!("at most {MOST_LISTS} ban lists are heeded");
                            return Err(AppendError::BadState(text));
                        }
                        batch.put(&BAN_LIST, &room, &list);
                    }
                    None => batch.delete(&BAN_LIST, &room),
                }
                batch.wake(ban_lists_scope());
                audit::record(latest, batch, now, &[deed])?;
                Ok(was)
            })
            .await
    }
}

fn refusal(what: &str, rule: &BanRule) -> AppendError {
    let why = match rule.reason.trim() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    AppendError::Ruled(format!(
        "a ban list that this server heeds names {what}{why}"
    ))
}

/// Refuses a join, an invitation or a knock of this server's people that a ban list is against.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn check(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    sender: &Sender,
    new: &NewEvent,
) -> Result<(), AppendError> {
    let membership = new.content.get("membership");
    let membership = membership.and_then(CanonicalJsonValue::as_str);
    if new.event_type != "m.room.member" || !matches!(membership, Some("join" | "invite" | "knock"))
    {
        return Ok(());
    }
    let target = new.state_key.as_deref().unwrap_or_default();
    let Ok(target) = UserId::parse(target) else {
        return Ok(());
    };
    // Who is in it already changes name and picture.
    if staging.new_room && target == sender.user_id
        || staging.membership(latest, &target)? == Some(Membership::Join)
    {
        return Ok(());
    }
    let room_id = staging.room_id.clone();
    rooms.must_be_wanted(room_id.as_deref(), &[&sender.user_id, &target])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_are_found_whatever_their_case() {
        let mut rules = Rules::default();
        for (subject, entity) in [
            (Subject::User, "@spam:bad.example"),
            (Subject::User, "@bot*:*"),
            (Subject::Server, "*.evil.example"),
            (Subject::Server, "Evil.example"),
            (Subject::Room, "!r:x"),
        ] {
            rules.add(BanRule {
                subject,
                entity: entity.to_owned(),
                reason: String::new(),
            });
        }
        for (subject, name, expected) in [
            (Subject::User, "@spam:bad.example", true),
            (Subject::User, "@Bot7:any.where", true),
            (Subject::User, "@robot:any.where", false),
            (Subject::Server, "a.evil.example", true),
            (Subject::Server, "evil.example", true),
            (Subject::Server, "notevil.example", false),
            (Subject::Room, "!r:x", true),
            (Subject::Room, "@spam:bad.example", false),
        ] {
            assert_eq!(rules.find(subject, name).is_some(), expected, "{name}");
        }
    }
}
