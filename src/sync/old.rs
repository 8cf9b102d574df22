//! The endpoints that clients had before `/sync` (client-server API, deprecated:
//! `/initialSync`, `/events`, `/rooms/{roomId}/initialSync`), and `/events` of one room,
//! with which rooms are previewed.

use std::{sync::Arc, time::Duration};

use accounts::Session;
use js_int::UInt;
use model::{Membership, room_scope, tables::MEMBERSHIP_BY_USER};
use rooms::{Access, EventFilter, PageRequest, PlaceToken, ReadError, Viewer, is_published};
use ruma_client_api::filter::FilterDefinition;
use ruma_common::{EventId, OwnedRoomId, RoomId, api::Direction, presence::PresenceState};
use serde_json::{Map, Value, json};
use store::{Read, Snapshot};
use tokio::time::Instant;

use crate::{Sync, SyncError, SyncRequest, v3::LONGEST_WAIT};

/// Messages of a room where the client does not say how many.
const USUAL_MESSAGES: usize = 20;
/// The most messages of a room.
const MAX_MESSAGES: usize = 100;

impl Sync {
    /// `GET /initialSync`: what the user has now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn initial_sync(
        &self,
        session: &Session,
        limit: Option<usize>,
        archived: bool,
    ) -> Result<Value, SyncError> {
        let mut filter = FilterDefinition::default();
        let limit = limit.unwrap_or(USUAL_MESSAGES).min(MAX_MESSAGES);
        filter.room.timeline.limit = UInt::try_from(limit).ok();
        filter.room.include_leave = archived;
        let request = SyncRequest {
            filter,
            use_state_after: true,
            ..SyncRequest::default()
        };
        let mut answer = self.parsed(session, request).await?;
        let mut rooms = Vec::new();
        for (section, membership) in [("join", "join"), ("leave", "leave")] {
            for (room_id, mut room) in taken(&mut answer["rooms"][section]) {
                let chunk = with_room_id(&room_id, room["timeline"]["events"].take());
                let state = with_room_id(&room_id, room["state_after"]["events"].take());
                rooms.push(json!({
                    "room_id": room_id,
                    "membership": membership,
                    "messages": {
                        "start": room["timeline"]["prev_batch"],
                        "end": answer["next_batch"],
                        "chunk": chunk,
                    },
                    "state": state,
                    "account_data": room["account_data"]["events"],
                }));
            }
        }
        for (room_id, _) in taken(&mut answer["rooms"]["invite"]) {
            let invite = self.own_membership(session, &room_id).await?;
            rooms.push(json!({
                "room_id": room_id, "membership": "invite", "invite": invite,
            }));
        }
        self.add_visibility(&mut rooms).await?;
        Ok(json!({
            "end": answer["next_batch"],
            "rooms": rooms,
            "presence": listed(answer["presence"]["events"].take()),
            "account_data": listed(answer["account_data"]["events"].take()),
        }))
    }

    /// `GET /events`: what happened in the user's rooms since a token of these endpoints.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] for a token that is none.
    pub async fn old_events(
        &self,
        session: &Session,
        from: Option<String>,
        timeout: Duration,
    ) -> Result<Value, SyncError> {
        let since = match from {
            Some(from) => from,
            None => self.now(session).await?,
        };
        let request = SyncRequest {
            since: Some(since.clone()),
            timeout,
            ..SyncRequest::default()
        };
        let mut answer = self.parsed(session, request).await?;
        // Events of rooms alone: typing, receipts and presence lack what an event has.
        let mut chunk = Vec::new();
        for (room_id, mut room) in taken(&mut answer["rooms"]["join"]) {
            chunk.extend(with_room_id(&room_id, room["timeline"]["events"].take()));
        }
        for (room_id, mut room) in taken(&mut answer["rooms"]["leave"]) {
            chunk.extend(with_room_id(&room_id, room["timeline"]["events"].take()));
        }
        for (room_id, _) in taken(&mut answer["rooms"]["invite"]) {
            chunk.extend(self.own_membership(session, &room_id).await?);
        }
        Ok(json!({ "start": since, "end": answer["next_batch"], "chunk": chunk }))
    }

    /// `GET /events` of one room: what happened there since a place, for whoever may read
    /// the room. Waits for something to happen.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who may not.
    pub async fn room_events(
        &self,
        session: &Session,
        room_id: OwnedRoomId,
        from: Option<PlaceToken>,
        timeout: Duration,
    ) -> Result<Value, SyncError> {
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        let viewer = viewer(session);
        let mut from = from;
        let mut watch = None;
        loop {
            let (sync, room) = (self.clone(), room_id.clone());
            if watch.is_none() {
                // Subscribe first, read second.
                let known = rooms::room_serial(&self.inner.store.snapshot(), room.as_str())?;
                watch = known.map(|known| self.inner.store.watch(&[room_scope(known)]));
            }
            let begin = from;
            let read = move |view: &Snapshot| sync.events_from(view, &room, viewer, begin);
            let (start, end, chunk) = self.inner.store.read_long(read).await?;
            from = Some(start);
            let is_over = match watch.as_mut().filter(|_| chunk.is_empty()) {
                Some(watch) => !self.wait(watch, deadline).await,
                None => true,
            };
            if is_over {
                return Ok(json!({
                    "start": start.to_string(),
                    "end": end.to_string(),
                    "chunk": chunk,
                }));
            }
        }
    }

    fn events_from(
        &self,
        view: &Snapshot,
        room_id: &RoomId,
        viewer: Viewer,
        from: Option<PlaceToken>,
    ) -> Result<(PlaceToken, PlaceToken, Vec<Value>), ReadError> {
        let rooms = &self.inner.rooms;
        let reader = rooms.reader(view, room_id, viewer)?;
        Access::of(view, reader.room, viewer.user)?;
        let page = |from, direction, limit| PageRequest {
            from,
            to: None,
            direction,
            limit,
            filter: EventFilter::default(),
            lazy_load_members: false,
        };
        let newest = rooms.messages(view, room_id, viewer, &page(None, Direction::Backward, 1))?;
        let Some(from) = from else {
            return Ok((newest.start, newest.start, Vec::new()));
        };
        let forward = page(Some(from), Direction::Forward, MAX_MESSAGES);
        let found = rooms.messages(view, room_id, viewer, &forward)?;
        let end = found.end.unwrap_or(newest.start.max(from));
        Ok((from, end, parsed(&found.chunk)))
    }

    /// `GET /rooms/{roomId}/initialSync`: a room as it is, for whoever may read it.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who may not.
    pub async fn room_initial_sync(
        &self,
        session: &Session,
        room_id: OwnedRoomId,
    ) -> Result<Value, SyncError> {
        let (sync, viewer) = (self.clone(), viewer(session));
        let read = move |view: &Snapshot| sync.room_now(view, &room_id, viewer);
        Ok(self.inner.store.read_long(read).await?)
    }

    fn room_now(
        &self,
        view: &Snapshot,
        room_id: &RoomId,
        viewer: Viewer,
    ) -> Result<Value, ReadError> {
        let rooms = &self.inner.rooms;
        let reader = rooms.reader(view, room_id, viewer)?;
        Access::of(view, reader.room, viewer.user)?;
        let request = PageRequest {
            from: None,
            to: None,
            direction: Direction::Backward,
            limit: USUAL_MESSAGES,
            filter: EventFilter::default(),
            lazy_load_members: false,
        };
        let page = rooms.messages(view, room_id, viewer, &request)?;
        let mut chunk = parsed(&page.chunk);
        chunk.reverse();
        let record = view.get(&MEMBERSHIP_BY_USER, &(viewer.user, reader.room))?;
        let mut answer = json!({
            "room_id": room_id,
            "messages": {
                "start": page.end.unwrap_or(PlaceToken::START).to_string(),
                "end": page.start.to_string(),
                "chunk": chunk,
            },
            "state": parsed(&rooms.state(view, room_id, viewer)?),
            "visibility": visibility(is_published(view, room_id)?),
        });
        if let Some(record) = record {
            answer["membership"] = record.membership.name().into();
            let data = accounts::account_data_of_room(view, viewer.user, Some(reader.room))?;
            let event = |entry: &accounts::AccountDataEntry| {
                let content: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
                json!({ "type": entry.event_type, "content": content })
            };
            answer["account_data"] = data.iter().map(event).collect();
        }
        Ok(answer)
    }

    /// `GET /events/{eventId}`: an event of whichever room, as JSON.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is none that the user may see.
    pub async fn event_anywhere(
        &self,
        session: &Session,
        event_id: &EventId,
    ) -> Result<String, SyncError> {
        let (rooms, viewer) = (self.inner.rooms.clone(), viewer(session));
        let event_id = event_id.to_owned();
        let read = move |view: &Snapshot| {
            let nowhere = || ReadError::NotFound("there is no such event".to_owned());
            let room_id = rooms::room_of_event(view, event_id.as_str())?.ok_or_else(nowhere)?;
            let room_id = RoomId::parse(room_id).map_err(|_| nowhere())?;
            rooms.event(view, &room_id, viewer, &event_id)
        };
        Ok(self.inner.store.read(read).await?)
    }

    /// A token of now, for who has none.
    async fn now(&self, session: &Session) -> Result<String, SyncError> {
        let mut filter = FilterDefinition::default();
        filter.room.rooms = Some(Vec::new());
        let request = SyncRequest {
            filter,
            ..SyncRequest::default()
        };
        let answer = self.parsed(session, request).await?;
        Ok(answer["next_batch"].as_str().unwrap_or_default().to_owned())
    }

    async fn parsed(&self, session: &Session, request: SyncRequest) -> Result<Value, SyncError> {
        let request = SyncRequest {
            set_presence: PresenceState::Online,
            ..request
        };
        let answer = self.sync(session, request).await?;
        // It was written just now.
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// The event of the user's own membership of a room: an invitation for instance.
    async fn own_membership(
        &self,
        session: &Session,
        room_id: &str,
    ) -> Result<Option<Value>, SyncError> {
        let (rooms, viewer) = (self.inner.rooms.clone(), viewer(session));
        let room_id = room_id.to_owned();
        let read = move |view: &Snapshot| {
            let Ok(room_id) = RoomId::parse(room_id) else {
                return Ok(None);
            };
            let reader = rooms.reader(view, &room_id, viewer)?;
            let record = view.get(&MEMBERSHIP_BY_USER, &(viewer.user, reader.room))?;
            let Some(record) = record.filter(|one| one.membership == Membership::Invite) else {
                return Ok(None);
            };
            let event = reader.load(record.event)?;
            let json = event.map(|event| reader.json(&event, true)).transpose()?;
            Ok::<_, ReadError>(json.and_then(|json| serde_json::from_str(&json).ok()))
        };
        Ok(self.inner.store.read(read).await?)
    }

    async fn add_visibility(&self, rooms: &mut [Value]) -> Result<(), SyncError> {
        let shown: Arc<[String]> = rooms
            .iter()
            .map(|room| room["room_id"].as_str().unwrap_or_default().to_owned())
            .collect();
        let read = move |view: &Snapshot| {
            let of = |room_id: &String| match RoomId::parse(room_id.as_str()) {
                Ok(room_id) => is_published(view, &room_id),
                Err(_) => Ok(false),
            };
            shown
                .iter()
                .map(of)
                .collect::<Result<Vec<bool>, ReadError>>()
        };
        let published = self.inner.store.read(read).await?;
        for (room, is_published) in rooms.iter_mut().zip(published) {
            room["visibility"] = visibility(is_published).into();
        }
        Ok(())
    }
}

fn viewer(session: &Session) -> Viewer {
    Viewer {
        user: session.user,
        device: Some(session.device),
    }
}

fn visibility(is_published: bool) -> &'static str {
    if is_published { "public" } else { "private" }
}

fn parsed(events: &[String]) -> Vec<Value> {
    events
        .iter()
        .filter_map(|json| serde_json::from_str(json).ok())
        .collect()
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}

fn taken(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Events of a sync, which leaves their room out, with it.
fn with_room_id(room_id: &str, events: Value) -> Vec<Value> {
    let mut events = listed(events);
    for event in &mut events {
        event["room_id"] = room_id.into();
    }
    events
}
