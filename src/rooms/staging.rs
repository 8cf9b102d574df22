//! New events of one commit, built and authorised on the end of their room.

use std::{collections::HashMap, sync::Arc};

use graph::{AuthState, Draft, Event, MAX_PREV_EVENTS, Parents, PowerLevels, Version};
use model::{
    EventSerial, EventStatus, Membership, RoomHead, RoomRecord, RoomSerial, StateRoot, tables,
};
use ruma_common::{OwnedEventId, OwnedRoomId, UserId};
use serde::Deserialize;
use store::{Latest, Read};

use crate::{
    AppendError, Appended, NewEvent, Rooms, Sender, StateMaps,
    client_event::{checked, load_event},
    digest::{Digest, digest},
    form::MAX_STICKY,
    known::Looked,
    marking,
    options::RoomKind,
    power_levels::names_creator,
    queue::{KEPT_EVENTS, KeptEvent, KeptLevels, KeptPolicy, KeptState, RoomEnd},
    relations::{Relation, RelationKeys, relates, thread_of},
    room_record, rules, standing,
};

/// An event built and authorised, not yet written.
pub(crate) struct Staged {
    pub(crate) serial: EventSerial,
    pub(crate) event: Arc<Event>,
    pub(crate) status: EventStatus,
    /// Whether it is news: to be told, and not only found by who looks back.
    pub(crate) is_new: bool,
    pub(crate) state_before: StateRoot,
    pub(crate) depth: u64,
    pub(crate) generation: u32,
    pub(crate) digest: Digest,
    /// The redaction's target.
    pub(crate) redacts: Option<Redacted>,
    /// Where it stands among the relations of its target.
    pub(crate) relation: Option<RelationKeys>,
    /// The event whose place in the state it takes.
    pub(crate) replaces: Option<EventSerial>,
    /// When it ends to be sticky, in ms since the Unix epoch.
    pub(crate) sticky_until: Option<u64>,
    /// What only events of other servers do.
    pub(crate) arrival: Option<Box<Arrival>>,
}

/// A membership that the room's state has from now on.
pub(crate) struct StagedMember {
    pub(crate) user_id: String,
    pub(crate) membership: Membership,
    /// The event that says so; none where the state has no membership any more.
    pub(crate) event: Option<EventSerial>,
    /// Who sent that event, and when, as it says, in ms since the Unix epoch.
    pub(crate) sender: String,
    pub(crate) sent_at: u64,
}

/// What an event of another server changes beside what every event does.
#[derive(Default)]
pub(crate) struct Arrival {
    /// Events that come directly before it and are missing.
    pub(crate) gaps: Vec<OwnedEventId>,
    /// The states after some of these, as they were given with it.
    pub(crate) given: Vec<(OwnedEventId, StateRoot)>,
    /// Whether it belongs to the past.
    pub(crate) is_history: bool,
    /// The depths at which it was missing itself.
    pub(crate) was_missing: Vec<u64>,
    /// The missing event that it redacts.
    pub(crate) redacts_missing: Option<OwnedEventId>,
    /// Redactions that came before it: those that do not take effect, and one that does.
    pub(crate) redactions: Vec<EventSerial>,
    pub(crate) redacted_by: Option<EventSerial>,
    /// Whether another server let a local user in with it.
    pub(crate) is_entry: bool,
    /// Whether this server has to send it to all others.
    pub(crate) is_relayed: bool,
    /// Whether others that are held here do not come before it, though they stand as high.
    pub(crate) is_beside: bool,
    /// The room's state before, where it is not the state before the event.
    pub(crate) head_before: Option<StateRoot>,
    /// The room's state from now on, where it is not the state after the event.
    pub(crate) head_after: Option<StateRoot>,
}

/// An event that a staged one redacts.
pub(crate) struct Redacted {
    pub(crate) serial: EventSerial,
    /// Whether it is a state event.
    pub(crate) is_state: bool,
    /// Where it stands among the relations of its own target, and its sender.
    pub(crate) relation: Option<(RelationKeys, String)>,
}

/// All that one commit brings into a room.
pub(crate) struct Staging {
    pub(crate) record: RoomRecord,
    pub(crate) version: Version,
    pub(crate) room: RoomSerial,
    pub(crate) room_id: Option<OwnedRoomId>,
    pub(crate) head: RoomHead,
    pub(crate) new_room: bool,
    /// Whether an administrator of the server has this done: closed rooms and lower markings
    /// do not stand in the way.
    pub(crate) is_administered: bool,
    /// Whether it has its marking from the room that it replaces: the configuration need not know
    /// it any more.
    pub(crate) keeps_marking: bool,
    /// What kind of room it begins as, if it is new.
    pub(crate) new_kind: Option<RoomKind>,
    /// The time of these events, in ms since the Unix epoch.
    pub(crate) now: u64,
    pub(crate) extremity_ids: Vec<OwnedEventId>,
    pub(crate) events: Vec<Staged>,
    /// Current state that these events changed: (type, state key) → event,
    /// or none where the state has nothing any more.
    pub(crate) state: HashMap<(String, String), Option<EventSerial>>,
    /// The memberships that follow from a new state; none where each event says itself
    /// which it gives.
    pub(crate) members: Option<Vec<StagedMember>>,
    pub(crate) nodes: HashMap<StateRoot, Vec<u8>>,
    pub(crate) kept: KeptState,
    pub(crate) levels: Option<KeptLevels>,
    pub(crate) policy: Option<KeptPolicy>,
    /// What was looked up for events that came before these.
    pub(crate) looked: Looked,
}

impl Staging {
    /// Begins with a room's end as the last writer left it.
    pub(crate) fn on(end: RoomEnd, room: RoomSerial, now: u64) -> Self {
        Self {
            room_id: OwnedRoomId::try_from(end.record.room_id.as_str()).ok(),
            record: end.record,
            version: end.version,
            room,
            head: end.head,
            new_room: false,
            is_administered: false,
            keeps_marking: false,
            new_kind: None,
            now,
            extremity_ids: end.extremity_ids,
            events: Vec::new(),
            state: HashMap::new(),
            members: None,
            nodes: HashMap::new(),
            kept: end.state,
            levels: end.levels,
            policy: end.policy,
            looked: Looked::default(),
        }
    }

    /// Begins with a room's end as it stands in the database.
    pub(crate) fn load(latest: &Latest, room: RoomSerial, now: u64) -> Result<Self, AppendError> {
        let (record, version) = room_record(latest, room)?;
        let head = latest
            .get(&tables::HEAD_BY_ROOM, &room)?
            .ok_or(AppendError::UnknownRoom)?;
        let mut extremity_ids = Vec::new();
        for serial in &head.extremities {
            let stored = latest.get(&tables::EVENT_BY_SERIAL, serial)?;
            let event_id = stored.and_then(|stored| OwnedEventId::try_from(stored.event_id).ok());
            extremity_ids.push(event_id.ok_or(AppendError::UnknownRoom)?);
        }
        let end = RoomEnd {
            record,
            version,
            head,
            extremity_ids,
            state: KeptState::new(),
            levels: None,
            policy: None,
        };
        Ok(Self::on(end, room, now))
    }

    /// Begins a room that does not exist yet. `room_id` is none where the create
    /// event gives it. `now` is the time of its first events: in the rooms whose id is
    /// the hash of their create event it must never be the same for two of them.
    pub(crate) fn new_room(
        version: Version,
        room: RoomSerial,
        room_id: Option<OwnedRoomId>,
        now: u64,
    ) -> Self {
        let end = RoomEnd {
            record: RoomRecord {
                room_id: room_id
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                version: version.as_str().to_owned(),
                create_event: EventSerial(0),
                created_at: now,
            },
            version,
            head: RoomHead::default(),
            extremity_ids: Vec::new(),
            state: KeptState::new(),
            levels: None,
            policy: None,
        };
        let mut staging = Self::on(end, room, now);
        staging.new_room = true;
        staging
    }

    /// The staged current state's event under a type and state key.
    pub(crate) fn state_event(
        &mut self,
        latest: &Latest,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<KeptEvent>, AppendError> {
        let key = (event_type.to_owned(), state_key.to_owned());
        if let Some(kept) = self.kept.get(&key) {
            return Ok(Some(kept.clone()));
        }
        if self.new_room {
            return Ok(None);
        }
        let flat = (self.room, key.0.clone(), key.1.clone());
        let Some(serial) = latest.get(&tables::STATE_BY_ROOM, &flat)? else {
            return Ok(None);
        };
        let stored = latest
            .get(&tables::EVENT_BY_SERIAL, &serial)?
            .ok_or(AppendError::UnknownRoom)?;
        let kept = KeptEvent {
            serial,
            event: Arc::new(checked(stored, self.version, &self.record.room_id)?),
            generation: latest
                .get(&tables::EVENT_META_BY_SERIAL, &serial)?
                .map_or(0, |meta| meta.generation),
        };
        self.kept.insert(key, kept.clone());
        Ok(Some(kept))
    }

    /// A user's membership in the staged current state.
    pub(crate) fn membership(
        &mut self,
        latest: &Latest,
        user_id: &UserId,
    ) -> Result<Option<Membership>, AppendError> {
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        let event = self.state_event(latest, "m.room.member", user_id.as_str())?;
        Ok(event
            .and_then(|kept| kept.event.content_as::<Content>().ok())
            .and_then(|content| Membership::from_name(&content.membership)))
    }

    /// The staged current power levels; none before the create event.
    pub(crate) fn power_levels(
        &mut self,
        latest: &Latest,
    ) -> Result<Option<Arc<PowerLevels>>, AppendError> {
        let event = self.state_event(latest, "m.room.power_levels", "")?;
        let serial = event.as_ref().map(|kept| kept.serial);
        if let Some((of, levels)) = &self.levels
            && *of == serial
        {
            return Ok(Some(levels.clone()));
        }
        let Some(create) = self.state_event(latest, "m.room.create", "")? else {
            return Ok(None);
        };
        let event = event.as_ref().map(|kept| kept.event.as_ref());
        let levels = Arc::new(PowerLevels::new(&create.event, event)?);
        self.levels = Some((serial, levels.clone()));
        Ok(Some(levels))
    }

    /// The target of a redaction, if it is an event of this room that the sender may
    /// redact; none if it is not known here yet, and the redaction has to wait for it.
    fn redaction_target(
        &mut self,
        latest: &Latest,
        sender: &Sender,
        target: &OwnedEventId,
    ) -> Result<Option<Redacted>, AppendError> {
        let Some(serial) = latest.get(&tables::EVENT_BY_ID, &target.to_string())? else {
            return Ok(None);
        };
        let event = load_event(latest, serial)?;
        if Some(event.room_id()) != self.room_id.as_deref() {
            return Err(AppendError::UnknownTarget);
        }
        let levels = self.power_levels(latest)?.ok_or(AppendError::UnknownRoom)?;
        if !graph::may_redact(&sender.user_id, &event, &levels) {
            return Err(AppendError::Forbidden(
                "you do not have the power to redact other people's events".to_owned(),
            ));
        }
        let place = latest
            .get(&tables::EVENT_META_BY_SERIAL, &serial)?
            .map(|meta| (meta.depth, meta.tie_break));
        let relation = place
            .and_then(|place| RelationKeys::of(&event, serial, place))
            .map(|keys| (keys, event.sender().to_string()));
        Ok(Some(Redacted {
            serial,
            is_state: event.state_key().is_some(),
            relation,
        }))
    }

    /// Builds one event on the staged end of the room and authorises it.
    pub(crate) fn stage(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
        sender: &Sender,
        mut new: NewEvent,
    ) -> Result<(), AppendError> {
        marking::complete(rooms, self.keeps_marking, &mut new)?;
        standing::check(rooms, latest, self, sender, &new)?;
        rules::check(rooms, latest, self, sender, &new)?;
        let sticky_until = new
            .sticky
            .map(|duration| self.now + duration.min(MAX_STICKY));
        let redacts = match &new.redacts {
            Some(target) => self.redaction_target(latest, sender, target)?,
            None => None,
        };
        if new.event_type == "m.room.power_levels"
            && let Some(create) = self.state_event(latest, "m.room.create", "")?
            && names_creator(&new.content, &create.event)
        {
            return Err(AppendError::Invalid(
                "a creator of the room stands above all levels and cannot be given one".to_owned(),
            ));
        }
        let missing = new.redacts.clone().filter(|_| redacts.is_none());
        let draft = Draft {
            event_type: new.event_type,
            state_key: new.state_key,
            content: new.content,
            sender: sender.user_id.clone(),
            redacts: new.redacts,
            origin_server_ts: sender.sent_at.unwrap_or(self.now),
            sticky: new.sticky,
        };
        let (auth, generation) = self.auth_state(latest, &draft)?;
        let auth_events = auth.auth_events(self.version, &draft)?;
        let parents = Parents {
            prev_events: self.newest_extremities().to_vec(),
            depth: self.head.depth + 1,
        };
        let makes_room_id =
            draft.event_type == "m.room.create" && self.version.room_id_is_create_event();
        let room_id = self.room_id.as_deref().filter(|_| !makes_room_id);
        let event = graph::build(
            self.version,
            room_id,
            draft,
            parents,
            &auth_events,
            &rooms.inner.key,
            &rooms.inner.server_name,
        )?;
        graph::authorise(&event, &auth)?;
        let levels = match event.state_key() {
            None => self.power_levels(latest)?,
            Some(_) => None,
        };
        let mut digest = digest(&event, levels.as_deref());
        if event.state_key().is_none() && relates(&event) {
            let relation = Relation::of_event(event.json().as_bytes());
            digest.thread = thread_of(latest, self.room, relation)?;
        }
        self.push(rooms, latest, event, generation, digest, redacts)?;
        if let Some(staged) = self.events.last_mut() {
            staged.sticky_until = sticky_until;
            staged.arrival = missing.map(|missing| {
                Box::new(Arrival {
                    redacts_missing: Some(missing),
                    ..Arrival::default()
                })
            });
        }
        Ok(())
    }

    /// The JSON of a membership as a user of another server may send it on the staged end
    /// of the room.
    pub(crate) fn template(
        &mut self,
        latest: &Latest,
        draft: Draft,
    ) -> Result<String, AppendError> {
        let (auth, _) = self.auth_state(latest, &draft)?;
        let parents = Parents {
            prev_events: self.newest_extremities().to_vec(),
            depth: self.head.depth + 1,
        };
        let room_id = self.room_id.clone().ok_or(AppendError::UnknownRoom)?;
        Ok(graph::template(
            self.version,
            &room_id,
            draft,
            parents,
            &auth,
        )?)
    }

    /// The events that the next one can name as directly before it.
    pub(crate) fn newest_extremities(&self) -> &[OwnedEventId] {
        let all = self.extremity_ids.len();
        &self.extremity_ids[all.saturating_sub(MAX_PREV_EVENTS)..]
    }

    /// The state that decides about a draft, and the draft's generation.
    fn auth_state(
        &mut self,
        latest: &Latest,
        draft: &Draft,
    ) -> Result<(AuthState, u32), AppendError> {
        let mut auth = AuthState::default();
        let mut generation = 0;
        for (event_type, state_key) in graph::state_keys(self.version, draft)? {
            if let Some(kept) = self.state_event(latest, &event_type, &state_key)? {
                generation = generation.max(kept.generation + 1);
                auth.insert(kept.event);
            }
        }
        Ok((auth, generation))
    }

    fn push(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
        event: Event,
        generation: u32,
        digest: Digest,
        redacts: Option<Redacted>,
    ) -> Result<(), AppendError> {
        let serial = EventSerial(rooms.inner.store.next_serial());
        let relation = RelationKeys::of(&event, serial, (event.depth(), serial.0));
        let event = Arc::new(event);
        let state_before = self.head.state;
        let replaces = self.replaced_by(latest, &event)?;
        if self.room_id.is_none() {
            self.room_id = Some(event.room_id().to_owned());
            self.record.room_id = event.room_id().to_string();
        }
        if let Some(state_key) = event.state_key() {
            let nodes = std::mem::take(&mut self.nodes);
            let secret = rooms.inner.store.secret();
            let mut maps = StateMaps::new(latest, self.room, secret).with_fresh(nodes);
            self.head.state = maps.insert(state_before, event.event_type(), state_key, serial)?;
            self.nodes = maps.into_fresh();
            let key = (event.event_type().to_owned(), state_key.to_owned());
            let kept = KeptEvent {
                serial,
                event: event.clone(),
                generation,
            };
            self.kept.insert(key.clone(), kept);
            self.state.insert(key, Some(serial));
            if event.event_type() == "m.room.create" {
                self.record.create_event = serial;
            }
        }
        self.head.depth = event.depth();
        // Those that it could not name wait for the next.
        let waiting = self.extremity_ids.len().saturating_sub(MAX_PREV_EVENTS);
        self.head.extremities.truncate(waiting);
        self.head.extremities.push(serial);
        self.extremity_ids.truncate(waiting);
        self.extremity_ids.push(event.event_id().to_owned());
        self.events.push(Staged {
            serial,
            status: EventStatus::Accepted,
            is_new: true,
            arrival: None,
            depth: event.depth(),
            event,
            state_before,
            generation,
            digest,
            redacts,
            relation,
            replaces,
            sticky_until: None,
        });
        Ok(())
    }

    /// The event whose place in the staged current state a new one takes.
    fn replaced_by(
        &self,
        latest: &Latest,
        event: &Event,
    ) -> Result<Option<EventSerial>, AppendError> {
        let Some(state_key) = event.state_key() else {
            return Ok(None);
        };
        let key = (event.event_type().to_owned(), state_key.to_owned());
        if let Some(serial) = self.state.get(&key) {
            return Ok(*serial);
        }
        if self.new_room {
            return Ok(None);
        }
        Ok(latest.get(&tables::STATE_BY_ROOM, &(self.room, key.0, key.1))?)
    }

    /// What the new events are called.
    pub(crate) fn appended(&self) -> Vec<Appended> {
        self.events
            .iter()
            .map(|staged| Appended {
                event_id: staged.event.event_id().to_owned(),
                event: staged.serial,
                room: self.room,
            })
            .collect()
    }

    /// The end on which the next writer builds.
    pub(crate) fn into_end(mut self) -> RoomEnd {
        if self.kept.len() > KEPT_EVENTS {
            self.kept = KeptState::new();
        }
        RoomEnd {
            record: self.record,
            version: self.version,
            head: self.head,
            extremity_ids: self.extremity_ids,
            state: self.kept,
            levels: self.levels,
            policy: self.policy,
        }
    }
}
