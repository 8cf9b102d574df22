//! Invitations to rooms in which nobody of this server is, and knocks at them: only the
//! user's own membership is known, and what another server has said of the room.

use graph::{Event, Received, Version};
use model::{
    Changes, EventMeta, EventSerial, EventStatus, LogEntry, Membership, MembershipRecord,
    OutsideRecord, RoomRecord, RoomSerial, StoredEvent, UserChange, UserSerial, intern_room,
    intern_user, tables,
};
use ruma_common::{OwnedServerName, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    AppendError, Rooms, client_event::load_event, register, room_record, room_serial, state_map,
    user_serial,
};

/// The most events of a room's state that are kept with an invitation.
const MOST_EVENTS: usize = 100;
/// The most bytes that they have together.
const MOST_BYTES: usize = 256 * 1024;
/// The most servers that are kept.
const MOST_SERVERS: usize = 20;

/// A membership of a user of this server in a room in which nobody of this server is.
pub struct Outside {
    /// The `m.room.member` event, checked as far as signatures go.
    pub event: Event,
    /// The room's version.
    pub version: Version,
    /// What another server says of the room: events, whole or stripped, as JSON.
    pub state: Vec<Box<RawValue>>,
    /// Servers that are in the room.
    pub servers: Vec<OwnedServerName>,
}

/// A membership outside, as it is known.
#[derive(Clone, Debug)]
pub struct KnownOutside {
    /// The room's version.
    pub version: Version,
    /// An invitation or a knock.
    pub membership: Membership,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Servers that are in the room.
    pub servers: Vec<OwnedServerName>,
}

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
}

impl Rooms {
    /// Records an invitation, a knock, or the end of one of both.
    ///
    /// # Errors
    /// [`AppendError::BadState`] if somebody of this server is in the room, so that it
    /// must enter the room itself; [`AppendError::Invalid`] if it is no membership of one of
    /// this server's users.
    pub async fn set_outside(&self, outside: Outside) -> Result<(), AppendError> {
        let invalid = |text: &str| AppendError::Invalid(text.to_owned());
        let event = &outside.event;
        let target = event.state_key().unwrap_or_default();
        let target = UserId::parse(target).map_err(|_| invalid("the event names no user"))?;
        let membership = event
            .content_as::<MemberContent>()
            .ok()
            .and_then(|content| Membership::from_name(&content.membership))
            .filter(|membership| *membership != Membership::Join)
            .ok_or_else(|| invalid("the event is no membership outside a room"))?;
        if event.event_type() != "m.room.member" || !self.is_local(&target) {
            return Err(invalid("the event is not about a user of this server"));
        }
        let rooms = self.clone();
        self.inner
            .store
            .commit(move |latest, position, batch| {
                rooms.outside_rows(latest, position, batch, &outside, &target, membership)
            })
            .await
    }

    fn outside_rows(
        &self,
        latest: &Latest,
        position: Position,
        batch: &mut Batch,
        outside: &Outside,
        target: &UserId,
        membership: Membership,
    ) -> Result<(), AppendError> {
        let store = &self.inner.store;
        let room = self.outside_room(latest, batch, outside)?;
        let serial = |id: &str, batch: &mut Batch| -> Result<UserSerial, StoreError> {
            intern_user(latest, batch, id, store.next_serial())
        };
        let member = serial(target.as_str(), batch)?;
        let sender = if outside.event.sender() == target {
            member
        } else {
            serial(outside.event.sender().as_str(), batch)?
        };
        let event = self.outside_event(latest, position, batch, room, &outside.event)?;
        let key = (member, room);
        let earlier = latest.get(&tables::MEMBERSHIP_BY_USER, &key)?;
        let record = MembershipRecord {
            membership,
            event,
            position: position.0,
            sender,
            forgotten: false,
            last_join: earlier.as_ref().map_or(0, |earlier| earlier.last_join),
            left_at: match &earlier {
                Some(earlier) if earlier.membership == Membership::Join => position.0,
                Some(earlier) => earlier.left_at,
                None => 0,
            },
        };
        batch.put(&tables::MEMBERSHIP_BY_USER, &key, &record);
        batch.put(&tables::MEMBER_BY_ROOM, &(room, member), &membership);
        if earlier.map(|earlier| earlier.membership) != Some(membership) {
            let place = (position, self.inner.clock.now().0);
            register::stay(batch, (room, member), place, &record);
        }
        if matches!(membership, Membership::Invite | Membership::Knock) {
            let known = OutsideRecord {
                event,
                servers: servers(&outside.servers),
                state: stripped(&outside.state),
            };
            batch.put(&tables::OUTSIDE_BY_USER, &key, &known);
        } else {
            batch.delete(&tables::OUTSIDE_BY_USER, &key);
        }
        let mut changes = Changes::at(position);
        changes.user(batch, member, &UserChange::Membership { room, membership });
        changes.log(batch, &LogEntry::Event { room, event });
        changes.log(batch, &LogEntry::Governed { room, event });
        batch.wake(model::room_scope(room));
        Ok(())
    }

    /// The room's serial, also if the room is not known here at all.
    fn outside_room(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        outside: &Outside,
    ) -> Result<RoomSerial, AppendError> {
        let room_id = outside.event.room_id().as_str();
        let room = intern_room(latest, batch, room_id, self.inner.store.next_serial())?;
        if !latest.contains(&tables::ROOM_BY_SERIAL, &room)? {
            let record = RoomRecord {
                room_id: room_id.to_owned(),
                version: outside.version.as_str().to_owned(),
                create_event: EventSerial(0),
                created_at: self.inner.clock.now().0,
            };
            batch.put(&tables::ROOM_BY_SERIAL, &room, &record);
        } else if latest
            .get(&tables::HEAD_BY_ROOM, &room)?
            .is_some_and(|head| head.joined_here > 0)
        {
            return Err(AppendError::BadState(
                "somebody of this server is in the room".to_owned(),
            ));
        }
        Ok(room)
    }

    /// Stores the event, if it is not there already, outside the room's timeline.
    fn outside_event(
        &self,
        latest: &Latest,
        position: Position,
        batch: &mut Batch,
        room: RoomSerial,
        event: &Event,
    ) -> Result<EventSerial, AppendError> {
        let event_id = event.event_id().to_string();
        if let Some(known) = latest.get(&tables::EVENT_BY_ID, &event_id)? {
            return Ok(known);
        }
        let serial = EventSerial(self.inner.store.next_serial());
        let stored = StoredEvent {
            room,
            event_id: event_id.clone(),
            json: event.json().as_bytes().to_vec(),
        };
        let meta = EventMeta {
            status: EventStatus::Outlier,
            depth: event.depth(),
            tie_break: serial.0,
            position: position.0,
            state_before: state_map::EMPTY,
            generation: 0,
            replaces: None,
        };
        batch.put(&tables::EVENT_BY_ID, &event_id, &serial);
        batch.put(&tables::EVENT_BY_SERIAL, &serial, &stored);
        batch.put(&tables::EVENT_META_BY_SERIAL, &serial, &meta);
        Ok(serial)
    }

    /// The version of a room of which this server has heard, whoever is in it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn known_version(&self, room_id: &RoomId) -> Result<Option<Version>, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |latest: &Latest| match room_serial(latest, room_id.as_str())? {
            Some(room) => Ok::<_, AppendError>(Some(room_record(latest, room)?.1)),
            None => Ok(None),
        };
        self.inner.store.prepare(read).await
    }

    /// A user's membership of a room in which nobody of this server is, if the user is
    /// invited to it or knocks at it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn known_outside(
        &self,
        user: UserSerial,
        room_id: &RoomId,
    ) -> Result<Option<KnownOutside>, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |latest: &Latest| known_outside(latest, user, &room_id);
        self.inner.store.prepare(read).await
    }

    /// The event of a user's invitation or knock.
    ///
    /// # Errors
    /// If the database fails, or there is none.
    pub async fn outside_member_event(
        &self,
        user: UserSerial,
        room_id: &RoomId,
    ) -> Result<Event, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |latest: &Latest| {
            let room = room_serial(latest, room_id.as_str())?.ok_or(AppendError::UnknownRoom)?;
            let record = latest.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
            let record = record.ok_or(AppendError::UnknownRoom)?;
            Ok::<_, AppendError>(load_event(latest, record.event)?)
        };
        self.inner.store.prepare(read).await
    }

    /// Takes an event of a room in which nobody of this server is, if it ends what a user
    /// of this server has to do with the room: an invitation that is taken back, a knock
    /// that is refused, a ban. Says whether it was one.
    ///
    /// It must name the invitation or knock among the events that allow it, whose id only
    /// servers in the room know, and be of the user who invited: whether anybody else may take
    /// an invitation back is for the room's state to say, which is not known here.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn receive_outside(&self, received: Received) -> Result<bool, AppendError> {
        let event = received.event;
        let ends = event
            .content_as::<MemberContent>()
            .is_ok_and(|content| matches!(content.membership.as_str(), "leave" | "ban"));
        let target = event.state_key().and_then(|key| UserId::parse(key).ok());
        let Some(target) = target.filter(|target| self.is_local(target) && ends) else {
            return Ok(false);
        };
        let version = event.version();
        let (name, room_id) = (target.to_string(), event.room_id().to_owned());
        let read = move |latest: &Latest| {
            let Some(user) = user_serial(latest, &name)? else {
                return Ok(None);
            };
            let Some(known) = known_outside(latest, user, &room_id)? else {
                return Ok(None);
            };
            Ok::<_, AppendError>(Some((user, known)))
        };
        let Some((user, known)) = self.inner.store.prepare(read).await? else {
            return Ok(false);
        };
        let before = self.outside_member_event(user, event.room_id()).await?;
        let names = event.auth_events().iter().any(|id| id == before.event_id());
        let is_theirs = known.membership == Membership::Knock || *event.sender() == known.sender;
        if event.event_type() != "m.room.member" || !names || !is_theirs {
            return Ok(false);
        }
        self.set_outside(Outside {
            event,
            version,
            state: Vec::new(),
            servers: Vec::new(),
        })
        .await?;
        Ok(true)
    }
}

fn known_outside(
    latest: &Latest,
    user: UserSerial,
    room_id: &RoomId,
) -> Result<Option<KnownOutside>, AppendError> {
    let Some(room) = room_serial(latest, room_id.as_str())? else {
        return Ok(None);
    };
    let Some(record) = latest.get(&tables::MEMBERSHIP_BY_USER, &(user, room))? else {
        return Ok(None);
    };
    let Some(known) = outside_record(latest, user, room, &record)? else {
        return Ok(None);
    };
    let sender = model::user_id(latest, record.sender)?;
    let sender = sender.and_then(|id| OwnedUserId::try_from(id).ok());
    let (_, version) = room_record(latest, room)?;
    Ok(sender.map(|sender| KnownOutside {
        version,
        membership: record.membership,
        sender,
        servers: known
            .servers
            .iter()
            .filter_map(|name| OwnedServerName::try_from(name.as_str()).ok())
            .collect(),
    }))
}

/// What a user is told of a room by an invitation or in answer to a knock, where this server
/// knows no better: `record` is the user's membership.
///
/// # Errors
/// If the database fails.
pub fn outside_record(
    view: &impl Read,
    user: UserSerial,
    room: RoomSerial,
    record: &MembershipRecord,
) -> Result<Option<OutsideRecord>, StoreError> {
    if !matches!(record.membership, Membership::Invite | Membership::Knock) {
        return Ok(None);
    }
    let known = view.get(&tables::OUTSIDE_BY_USER, &(user, room))?;
    Ok(known.filter(|known| known.event == record.event))
}

fn servers(names: &[OwnedServerName]) -> Vec<String> {
    let mut servers = Vec::new();
    for name in names.iter().map(ToString::to_string) {
        if servers.len() < MOST_SERVERS && !servers.contains(&name) {
            servers.push(name);
        }
    }
    servers
}

/// State events as clients may see them, without what is too much.
fn stripped(events: &[Box<RawValue>]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(rename = "type")]
        event_type: String,
        sender: OwnedUserId,
        #[serde(default)]
        state_key: String,
        #[serde(borrow)]
        content: &'a RawValue,
        origin_server_ts: Option<u64>,
    }
    let mut bytes = 0;
    let mut shown = Vec::new();
    for event in events.iter().take(MOST_EVENTS) {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(event.get()) else {
            continue;
        };
        let mut json = serde_json::json!({
            "type": fields.event_type,
            "sender": fields.sender,
            "state_key": fields.state_key,
            "content": fields.content,
        });
        if let Some(sent_at) = fields
            .origin_server_ts
            .filter(|_| fields.event_type == "m.room.create")
        {
            // MSC4311.
            json["origin_server_ts"] = sent_at.into();
        }
        let json = json.to_string();
        bytes += json.len();
        if bytes > MOST_BYTES {
            break;
        }
        shown.push(json);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_clients_may_see_is_kept() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let events = [
            raw(
                r#"{"type":"m.room.name","sender":"@a:b","state_key":"","content":{"name":"x"},"depth":3,"hashes":{}}"#,
            ),
            raw(r#"{"type":"m.room.topic"}"#),
            raw("7"),
        ];
        assert_eq!(
            stripped(&events),
            [r#"{"content":{"name":"x"},"sender":"@a:b","state_key":"","type":"m.room.name"}"#]
        );
        let large = format!(
            r#"{{"type":"m.x","sender":"@a:b","content":"{}"}}"#,
            "x".repeat(MOST_BYTES)
        );
        assert!(stripped(&[raw(&large)]).is_empty());
    }
}
