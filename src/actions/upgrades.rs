//! Replacing a room, and what each person's own settings have to do with it
//! (client-server API, "Room Upgrades").

use accounts::{AccountDataError, PushRuleError, Session};
use model::{RoomSerial, UserSerial, tables};
use rooms::{AppendError, ReadError, SpaceLink};
use ruma_common::{
    OwnedRoomId, OwnedUserId, RoomId,
    push::{
        ConditionalPushRule, NewConditionalPushRule, NewPushRule, NewSimplePushRule, PushCondition,
        Ruleset,
    },
};
use serde_json::{Map, Value};
use store::{Position, Read, Snapshot, StoreError};

use crate::{Actions, sender};

const DIRECT: &str = "m.direct";
const TAG: &str = "m.tag";
/// How often a change is tried when other devices change the same data at the same time.
const TRIES: usize = 5;

/// Why somebody's settings were not taken along.
#[derive(Debug, thiserror::Error)]
enum SettingsError {
    /// The rooms could not be read.
    #[error(transparent)]
    Room(#[from] ReadError),
    /// Tags, or the list of direct chats.
    #[error(transparent)]
    Data(#[from] AccountDataError),
    /// Push rules.
    #[error(transparent)]
    Push(#[from] PushRuleError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A room, and the one that replaces it.
struct Replaced {
    old: RoomSerial,
    old_id: OwnedRoomId,
    new: RoomSerial,
    new_id: OwnedRoomId,
}

impl Actions {
    /// Replaces a room by a new one of that version, and takes the caller's settings
    /// along. Returns the new room's id.
    ///
    /// # Errors
    /// [`AppendError`], as [`rooms::Rooms::upgrade`].
    pub async fn upgrade_room(
        &self,
        session: &Session,
        room_id: &RoomId,
        version: &str,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, AppendError> {
        let new = self
            .rooms
            .upgrade(&sender(session), room_id, version, additional_creators)
            .await?;
        // Departments have the new room in the old one's place.
        self.placements.notify_one();
        self.take_settings_along(session, &new).await;
        self.move_space_links(session, room_id, &new).await;
        Ok(new)
    }

    /// Lets the spaces that named the old room as their child name the new one, and the
    /// rooms that named it as their parent (MSC4168): those that the caller is in and has
    /// the power to change. What cannot be moved is logged.
    async fn move_space_links(&self, session: &Session, old: &RoomId, new: &RoomId) {
        let (rooms, user, room_id) = (self.rooms.clone(), session.user, old.to_owned());
        let find = move |view: &Snapshot| rooms.links_to(view, user, &room_id);
        let links = match self.rooms.store().read(find).await {
            Ok(links) => links,
            Err(error) => {
                log::warn!("the spaces of an upgraded room were not found: {error}");
                return;
            }
        };
        for link in links {
            match self.move_space_link(session, link, old, new).await {
                Ok(()) => {}
                Err(AppendError::Refused(_) | AppendError::Forbidden(_)) => {
                    log::debug!("an upgraded room keeps its old place in a space");
                }
                Err(error) => log::warn!("a space of an upgraded room stays as it was: {error}"),
            }
        }
    }

    async fn move_space_link(
        &self,
        session: &Session,
        link: SpaceLink,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), AppendError> {
        let mut content = link.content;
        // Nobody else is in the new room yet.
        let via = Value::from(vec![self.rooms.server_name().as_str()]);
        content.insert("via".to_owned(), via);
        let content = Value::Object(content).to_string();
        let (rooms, sender) = (&self.rooms, sender(session));
        // In this order there is always one of them.
        for (key, content) in [(new, content.as_str()), (old, "{}")] {
            let (kind, content) = (link.event_type, content.as_bytes());
            rooms
                .set_state(&sender, &link.room_id, kind, key.as_str(), content)
                .await?;
        }
        Ok(())
    }

    /// Where a client has made a room's successor by itself, and now says so in the old one:
    /// gives the successor what the caller has set for the old one. `content` is that of the
    /// state event that the caller has sent; of other types than the tombstone's nothing follows.
    pub async fn take_settings_to_successor(
        &self,
        session: &Session,
        event_type: &str,
        content: &[u8],
    ) {
        #[derive(serde::Deserialize)]
        struct Tombstone {
            replacement_room: OwnedRoomId,
        }
        if event_type == "m.room.tombstone"
            && let Ok(tombstone) = serde_json::from_slice::<Tombstone>(content)
        {
            self.take_settings_along(session, &tombstone.replacement_room)
                .await;
        }
    }

    /// Gives a room what the user has set for the room that it replaces, if it replaces
    /// one that the user knows. What cannot be taken along is logged.
    pub(crate) async fn take_settings_along(&self, session: &Session, room_id: &RoomId) {
        if let Err(error) = self.try_settings(session.user, room_id).await {
            log::warn!("settings of an upgraded room were not taken along: {error}");
        }
    }

    async fn try_settings(&self, user: UserSerial, room_id: &RoomId) -> Result<(), SettingsError> {
        let new_id = room_id.to_owned();
        let replaced = self
            .rooms
            .store()
            .read(move |view| replaced(view, user, new_id))
            .await?;
        let Some(replaced) = replaced else {
            return Ok(());
        };
        self.copy_tags(user, &replaced).await?;
        self.copy_direct(user, &replaced).await?;
        self.copy_push_rules(user, &replaced).await
    }

    /// The old room's tags, where the new one has none.
    async fn copy_tags(&self, user: UserSerial, rooms: &Replaced) -> Result<(), SettingsError> {
        let (old, new) = (rooms.old, rooms.new);
        let tags = self
            .rooms
            .store()
            .read(
                move |view| match accounts::account_data(view, user, Some(new), TAG)? {
                    Some(_) => Ok::<_, StoreError>(None),
                    None => accounts::account_data(view, user, Some(old), TAG),
                },
            )
            .await?;
        if let Some(tags) = tags {
            // Tags that another device has set meanwhile are newer than the old room's.
            self.accounts
                .replace_account_data(user, Some(new), TAG, None, tags.json)
                .await?;
        }
        Ok(())
    }

    /// Names the new room wherever the list of direct chats names the old one.
    async fn copy_direct(&self, user: UserSerial, rooms: &Replaced) -> Result<(), SettingsError> {
        for _ in 0..TRIES {
            let direct = self
                .rooms
                .store()
                .read(move |view| accounts::account_data(view, user, None, DIRECT))
                .await?;
            let Some(direct) = direct else {
                return Ok(());
            };
            let Some(json) = with_new_room(&direct.json, rooms) else {
                return Ok(());
            };
            let seen: Option<Position> = Some(direct.position);
            let replaced = self
                .accounts
                .replace_account_data(user, None, DIRECT, seen, json)
                .await?;
            if replaced {
                return Ok(());
            }
        }
        Err(StoreError::Busy.into())
    }

    async fn copy_push_rules(
        &self,
        user: UserSerial,
        rooms: &Replaced,
    ) -> Result<(), SettingsError> {
        let rules = self
            .rooms
            .store()
            .read(move |view| accounts::push_rules(view, user))
            .await?;
        for rule in rules.iter().flat_map(|rules| copied_rules(rules, rooms)) {
            self.accounts.put_push_rule(user, rule, None, None).await?;
        }
        Ok(())
    }
}

/// The room that another replaces, if the user had to do with it.
fn replaced(
    view: &Snapshot,
    user: UserSerial,
    new_id: OwnedRoomId,
) -> Result<Option<Replaced>, SettingsError> {
    let Some(new) = rooms::room_serial(view, new_id.as_str())? else {
        return Ok(None);
    };
    let Some(old) = rooms::predecessor(view, new)? else {
        return Ok(None);
    };
    let knows = view.contains(&tables::MEMBERSHIP_BY_USER, &(user, old))?;
    let old_id = model::room_id(view, old)?.and_then(|id| OwnedRoomId::try_from(id).ok());
    Ok(old_id.filter(|_| knows).map(|old_id| Replaced {
        old,
        old_id,
        new,
        new_id,
    }))
}

/// The content of `m.direct` with the new room beside the old one; none if it names the
/// old one nowhere, or the new one already.
fn with_new_room(json: &[u8], rooms: &Replaced) -> Option<Vec<u8>> {
    let mut content: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let mut changed = false;
    for list in content.values_mut().filter_map(Value::as_array_mut) {
        let names = |room_id: &RoomId| list.iter().any(|one| *one == room_id.as_str());
        if names(&rooms.old_id) && !names(&rooms.new_id) {
            list.push(Value::from(rooms.new_id.as_str()));
            changed = true;
        }
    }
    changed.then(|| Value::Object(content).to_string().into_bytes())
}

/// The push rules for the new room: those in force that name the old one, with the new one
/// in its place.
fn copied_rules(rules: &Ruleset, rooms: &Replaced) -> Vec<NewPushRule> {
    let mut copied = Vec::new();
    for rule in &rules.room {
        if rule.enabled && rule.rule_id == rooms.old_id {
            let rule = NewSimplePushRule::new(rooms.new_id.clone(), rule.actions.clone());
            copied.push(NewPushRule::Room(rule));
        }
    }
    for rule in &rules.override_ {
        copied.extend(copied_rule(rule, rooms).map(NewPushRule::Override));
    }
    for rule in &rules.underride {
        copied.extend(copied_rule(rule, rooms).map(NewPushRule::Underride));
    }
    copied
}

fn copied_rule(rule: &ConditionalPushRule, rooms: &Replaced) -> Option<NewConditionalPushRule> {
    let names_old = |condition: &PushCondition| match condition {
        PushCondition::EventMatch(matched) => {
            matched.key == "room_id" && matched.pattern == rooms.old_id.as_str()
        }
        _ => false,
    };
    if rule.default || !rule.enabled || !rule.conditions.iter().any(names_old) {
        return None;
    }
    let mut conditions = rule.conditions.clone();
    for condition in &mut conditions {
        if let PushCondition::EventMatch(matched) = condition
            && matched.key == "room_id"
            && matched.pattern == rooms.old_id.as_str()
        {
            matched.pattern = rooms.new_id.to_string();
        }
    }
    let (old_id, new_id) = (rooms.old_id.as_str(), rooms.new_id.as_str());
    let rule_id = if rule.rule_id.contains(old_id) {
        rule.rule_id.replace(old_id, new_id)
    } else {
        format!("{}-{new_id}", rule.rule_id)
    };
    Some(NewConditionalPushRule::new(
        rule_id,
        conditions,
        rule.actions.clone(),
    ))
}
