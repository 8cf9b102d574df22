//! Events as clients see them.

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap},
};

use graph::{Event, Version};
use model::{
    DeviceSerial, EventMeta, EventSerial, Membership, MembershipRecord, RoomSerial, StateRoot,
    StoredEvent, UserSerial, tables,
};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Read, StoreError};

use crate::{
    ReadError, StateMaps,
    form::{DELAY_ID, Fields, STICKY_LEFT, damaged, quoted, shared_part},
    relations::{self, NewestBundled},
    room_record,
    state::stripped_state,
};

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user.
    pub user: UserSerial,
    /// The device, if one looks.
    pub device: Option<DeviceSerial>,
}

/// An event with what is known about it.
#[derive(Clone, Debug)]
pub struct ClientEvent {
    /// Its serial.
    pub serial: EventSerial,
    /// Its body.
    pub stored: StoredEvent,
    /// What is known about it.
    pub meta: EventMeta,
    /// The redaction that took its content away.
    pub redacted_by: Option<EventSerial>,
}

impl ClientEvent {
    /// Who sent it.
    pub fn sender(&self) -> String {
        #[derive(Deserialize)]
        struct Header {
            sender: String,
        }
        serde_json::from_slice::<Header>(&self.stored.json)
            .map(|header| header.sender)
            .unwrap_or_default()
    }
}

/// How much is told about an event.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Everything,
    /// What costs no walk through the state of back then.
    Cheap,
    /// What is the same for all: nothing about the viewer.
    Common,
}

/// What membership and profile lookups need of a membership's content.
#[derive(Deserialize)]
struct MemberContent {
    membership: String,
}

/// Reads the event of a serial for the rules.
///
/// # Errors
/// If it is not there or damaged.
pub(crate) fn load_event(view: &impl Read, serial: EventSerial) -> Result<Event, ReadError> {
    let stored = view
        .get(&tables::EVENT_BY_SERIAL, &serial)?
        .ok_or_else(|| ReadError::NotFound("the event is not known here".to_owned()))?;
    let (record, version) = room_record(view, stored.room)?;
    checked(stored, version, &record.room_id)
}

pub(crate) fn checked(
    stored: StoredEvent,
    version: Version,
    room_id: &str,
) -> Result<Event, ReadError> {
    let damaged = |_| StoreError::Corrupt {
        table: tables::EVENT_BY_SERIAL.name,
        reason: store::DecodeError("an id in it is none"),
    };
    let event_id = OwnedEventId::try_from(stored.event_id.as_str()).map_err(damaged)?;
    let room_id = OwnedRoomId::try_from(room_id).map_err(damaged)?;
    Ok(Event::from_stored(
        stored.json,
        event_id,
        version,
        room_id,
        false,
    )?)
}

/// The events of some serials, in their order, without those that are not of `room` or
/// not there any more. Who may see them is not asked here.
///
/// # Errors
/// If the database fails.
pub fn load_events(
    view: &impl Read,
    room: RoomSerial,
    serials: &[EventSerial],
) -> Result<Vec<ClientEvent>, ReadError> {
    let stored = view.get_many(&tables::EVENT_BY_SERIAL, serials)?;
    let metas = view.get_many(&tables::EVENT_META_BY_SERIAL, serials)?;
    let redactions = view.get_many(&tables::REDACTION_BY_EVENT, serials)?;
    Ok(serials
        .iter()
        .zip(stored)
        .zip(metas)
        .zip(redactions)
        .filter_map(|(((serial, stored), meta), redacted_by)| {
            Some(ClientEvent {
                serial: *serial,
                stored: stored.filter(|stored| stored.room == room)?,
                meta: meta?,
                redacted_by,
            })
        })
        .collect())
}

/// Reads the events of one room for one viewer, remembering what neighbours share.
pub struct EventReader<'a, R> {
    /// Where everything is read from.
    pub view: &'a R,
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// Its version.
    pub version: Version,
    secret: &'a [u8; 32],
    viewer: Viewer,
    viewer_id: String,
    /// The same as a JSON string.
    viewer_quoted: String,
    /// The viewer's membership now.
    stay: Option<MembershipRecord>,
    now: u64,
    memberships: RefCell<HashMap<StateRoot, Option<Membership>>>,
    /// Which senders asked to be forgotten.
    erased: RefCell<HashMap<String, bool>>,
    /// How far an event can have relations.
    pub(crate) newest_bundled: NewestBundled,
    /// Whom the viewer ignores; none until somebody asks.
    ignored: OnceCell<BTreeSet<String>>,
}

impl<'a, R: Read> EventReader<'a, R> {
    /// A reader of `room` for `viewer`. `secret` is [`store::Store::secret`]; `now`
    /// is in ms since the Unix epoch, for the events' age.
    ///
    /// # Errors
    /// If the room is not there or the database fails.
    pub fn new(
        view: &'a R,
        room: RoomSerial,
        secret: &'a [u8; 32],
        viewer: Viewer,
        now: u64,
    ) -> Result<Self, ReadError> {
        let (record, version) = room_record(view, room)?;
        let viewer_id = model::user_id(view, viewer.user)?.unwrap_or_default();
        Ok(Self {
            stay: view.get(&tables::MEMBERSHIP_BY_USER, &(viewer.user, room))?,
            viewer_quoted: quoted(&viewer_id),
            view,
            room,
            room_id: record.room_id,
            version,
            secret,
            viewer,
            viewer_id,
            now,
            memberships: RefCell::default(),
            erased: RefCell::default(),
            newest_bundled: NewestBundled::default(),
            ignored: OnceCell::new(),
        })
    }

    /// Who looks.
    pub fn viewer(&self) -> Viewer {
        self.viewer
    }

    /// The viewer's user id.
    pub fn viewer_id(&self) -> &str {
        &self.viewer_id
    }

    /// The room's state maps.
    pub fn maps(&self) -> StateMaps<'a, R> {
        StateMaps::new(self.view, self.room, self.secret)
    }

    /// The event of a serial, if it is one of this room and still there.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load(&self, serial: EventSerial) -> Result<Option<ClientEvent>, ReadError> {
        let Some(stored) = self.view.get(&tables::EVENT_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        let Some(meta) = self.view.get(&tables::EVENT_META_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        Ok((stored.room == self.room).then_some(ClientEvent {
            serial,
            stored,
            meta,
            redacted_by: self.view.get(&tables::REDACTION_BY_EVENT, &serial)?,
        }))
    }

    /// The events of some serials, in their order, without those that are not of this
    /// room or not there any more: cheaper than one by one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load_many(&self, serials: &[EventSerial]) -> Result<Vec<ClientEvent>, ReadError> {
        load_events(self.view, self.room, serials)
    }

    /// The event of an id, if it is one of this room and still there.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load_by_id(&self, event_id: &str) -> Result<Option<ClientEvent>, ReadError> {
        match self.view.get(&tables::EVENT_BY_ID, &event_id.to_owned())? {
            Some(serial) => self.load(serial),
            None => Ok(None),
        }
    }

    /// The event under a type and state key in the state under `root`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn state_event(
        &self,
        root: StateRoot,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<ClientEvent>, ReadError> {
        match self.maps().get(root, event_type, state_key)? {
            Some(serial) => self.load(serial),
            None => Ok(None),
        }
    }

    /// The membership that an `m.room.member` event gives.
    ///
    /// # Errors
    /// If the event is damaged.
    pub fn membership_of(&self, event: &ClientEvent) -> Result<Option<Membership>, ReadError> {
        #[derive(Deserialize)]
        struct Member {
            content: MemberContent,
        }
        Ok(serde_json::from_slice::<Member>(&event.stored.json)
            .ok()
            .and_then(|member| Membership::from_name(&member.content.membership)))
    }

    /// The viewer's membership in the state under `root`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn membership_in(&self, root: StateRoot) -> Result<Option<Membership>, ReadError> {
        if let Some(known) = self.memberships.borrow().get(&root) {
            return Ok(*known);
        }
        let membership = match self.state_event(root, "m.room.member", &self.viewer_id)? {
            Some(event) => self.membership_of(&event)?,
            None => None,
        };
        self.memberships.borrow_mut().insert(root, membership);
        Ok(membership)
    }

    /// The event as JSON for the viewer: the client-server API's `ClientEvent`, or
    /// without `room_id` where `with_room_id` is false (as `/sync` has it). What relates
    /// to it is bundled with it.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn json(&self, event: &ClientEvent, with_room_id: bool) -> Result<String, ReadError> {
        let json = self.json_alone(event, with_room_id)?;
        relations::bundle(self, event, with_room_id, json)
    }

    /// [`EventReader::json`] of an event whose sender the viewer ignores: with nothing of
    /// what the sender said.
    pub(crate) fn json_redacted(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let whole = checked(event.stored.clone(), self.version, &self.room_id)?;
        let redacted = graph::redact(&whole)?;
        let json = redacted.json().as_bytes();
        let json = self.format(event, json, true, None, Told::Everything)?;
        relations::bundle(self, event, true, json)
    }

    /// [`EventReader::json`] without what relates to the event.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn json_alone(&self, event: &ClientEvent, with_room_id: bool) -> Result<String, ReadError> {
        self.json_told(event, with_room_id, Told::Everything)
    }

    /// The same of an event of the state that the viewer is told beside a timeline,
    /// without what is expensive to say there and nobody asks for: the viewer's
    /// membership back then.
    ///
    /// # Errors
    /// As [`EventReader::json`].
    pub fn state_json(&self, event: &ClientEvent) -> Result<String, ReadError> {
        self.json_told(event, false, Told::Cheap)
    }

    /// The same of a new event for an application service, which looks for many users at
    /// once: with its room's id, with nothing about the viewer. An invitation comes with
    /// what the invited one is shown of the room.
    ///
    /// # Errors
    /// As [`EventReader::json`].
    pub fn service_json(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let json = self.json_told(event, true, Told::Common)?;
        if self.membership_of(event)? != Some(Membership::Invite) {
            return Ok(json);
        }
        let shown = stripped_state(self, event.serial)?.join(",");
        // `unsigned` is the last field, and never empty.
        Ok(match json.strip_suffix("}}") {
            Some(open) => format!("{open},\"invite_room_state\":[{shown}]}}}}"),
            None => json,
        })
    }

    fn json_told(
        &self,
        event: &ClientEvent,
        with_room_id: bool,
        told: Told,
    ) -> Result<String, ReadError> {
        let redaction = event.redacted_by.map(|redaction| self.load(redaction));
        let because = match redaction.transpose()?.flatten() {
            Some(redaction) => Some(self.json_of(&redaction, with_room_id, None, told)?),
            None => None,
        };
        self.json_of(event, with_room_id, because.as_deref(), told)
    }

    fn json_of(
        &self,
        event: &ClientEvent,
        with_room_id: bool,
        redacted_because: Option<&str>,
        told: Told,
    ) -> Result<String, ReadError> {
        if redacted_because.is_none() && !self.is_erased_for_viewer(event)? {
            return self.format(event, &event.stored.json, with_room_id, None, told);
        }
        let whole = checked(event.stored.clone(), self.version, &self.room_id)?;
        let redacted = graph::redact(&whole)?;
        let json = redacted.json().as_bytes();
        self.format(event, json, with_room_id, redacted_because, told)
    }

    /// Whether the sender asked to be forgotten, and the viewer was not there when the
    /// event was sent (client-server API, "Account deactivation", `erase`).
    fn is_erased_for_viewer(&self, event: &ClientEvent) -> Result<bool, ReadError> {
        #[derive(Deserialize)]
        struct Header<'a> {
            sender: std::borrow::Cow<'a, str>,
            #[serde(borrow)]
            state_key: Option<&'a RawValue>,
        }
        if self.came_during_stay(event) {
            return Ok(false);
        }
        let header: Header<'_> =
            serde_json::from_slice(&event.stored.json).map_err(|_| damaged())?;
        if header.state_key.is_some() || !self.is_erased(&header.sender)? {
            return Ok(false);
        }
        Ok(self.membership_in(event.meta.state_before)? != Some(Membership::Join))
    }

    /// Whether the viewer's latest stay in the room had begun when the event came and
    /// had not ended: answers most questions without a look at the state back then.
    fn came_during_stay(&self, event: &ClientEvent) -> bool {
        self.stay.as_ref().is_some_and(|stay| {
            let position = event.meta.position;
            stay.last_join > 0
                && stay.last_join < position
                && (stay.left_at == 0 || position < stay.left_at)
        })
    }

    /// Whether a user asked to be forgotten.
    pub(crate) fn is_erased(&self, sender: &str) -> Result<bool, ReadError> {
        if let Some(known) = self.erased.borrow().get(sender) {
            return Ok(*known);
        }
        let account = match self.view.get(&tables::USER_BY_ID, &sender.to_owned())? {
            Some(user) => accounts::account(self.view, user)?,
            None => None,
        };
        let erased = account.is_some_and(|account| account.is_erased);
        self.erased.borrow_mut().insert(sender.to_owned(), erased);
        Ok(erased)
    }

    /// Whether the viewer does not want to get this event: its sender is ignored, and it
    /// is no state (client-server API, "Ignoring Users").
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn is_ignored(&self, event: &ClientEvent) -> Result<bool, ReadError> {
        #[derive(Deserialize)]
        struct Header<'a> {
            sender: Cow<'a, str>,
            #[serde(borrow)]
            state_key: Option<&'a RawValue>,
        }
        let ignored = match self.ignored.get() {
            Some(known) => known,
            None => {
                let ignored = accounts::ignored_users(self.view, self.viewer.user)?;
                self.ignored.get_or_init(|| ignored)
            }
        };
        if ignored.is_empty() {
            return Ok(false);
        }
        let header: Header<'_> =
            serde_json::from_slice(&event.stored.json).map_err(|_| damaged())?;
        Ok(header.state_key.is_none() && ignored.contains(header.sender.as_ref()))
    }

    /// Puts the client's form together from pieces of the stored one.
    fn format(
        &self,
        event: &ClientEvent,
        json: &[u8],
        with_room_id: bool,
        because: Option<&str>,
        told: Told,
    ) -> Result<String, ReadError> {
        let fields: Fields<'_> = serde_json::from_slice(json).map_err(|_| damaged())?;
        let event_id = &event.stored.event_id;
        let room_id = with_room_id.then_some(self.room_id.as_str());
        let mut out = shared_part(&fields, event_id, self.version, room_id);
        out.push_str(",\"unsigned\":");
        self.unsigned(&mut out, event, &fields, because, told)?;
        out.push('}');
        Ok(out)
    }

    fn unsigned(
        &self,
        out: &mut String,
        event: &ClientEvent,
        fields: &Fields<'_>,
        because: Option<&str>,
        told: Told,
    ) -> Result<(), ReadError> {
        let sent_at: u64 = fields.origin_server_ts.get().parse().unwrap_or(self.now);
        out.push_str("{\"age\":");
        out.push_str(&self.now.saturating_sub(sent_at).to_string());
        let mut field = |name: &str, value: &str| {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            out.push_str(value);
        };
        if let Some(because) = because {
            field("redacted_because", because);
        }
        // Only one's own events have transaction ids to be told of.
        if let Some(device) = self.viewer.device
            && fields.sender.get() == self.viewer_quoted
            && let Some(sent) = self
                .view
                .get(&tables::TRANSACTION_BY_EVENT, &event.serial)?
            && sent.device == device
        {
            field("transaction_id", &quoted(&sent.transaction_id));
        }
        if fields.sender.get() == self.viewer_quoted
            && let Some(delay_id) = self.view.get(&tables::DELAY_ID_BY_EVENT, &event.serial)?
        {
            field(DELAY_ID, &quoted(&delay_id));
        }
        if let Some(left) = fields.sticky_left(self.now) {
            field(STICKY_LEFT, &left.to_string());
        }
        if fields.state_key.is_some() {
            self.replaced(event, &mut field)?;
        }
        if let Some(membership) = self.membership_at(event, fields, told)? {
            field("membership", &quoted(membership.name()));
        }
        out.push('}');
        Ok(())
    }

    /// `prev_content` and `replaces_state` of a state event.
    fn replaced(
        &self,
        event: &ClientEvent,
        field: &mut impl FnMut(&str, &str),
    ) -> Result<(), ReadError> {
        let Some(before) = event.meta.replaces else {
            return Ok(());
        };
        let Some(before) = self.load(before)? else {
            return Ok(());
        };
        field("replaces_state", &quoted(&before.stored.event_id));
        if let Ok(fields) = serde_json::from_slice::<Fields<'_>>(&before.stored.json) {
            field("prev_sender", fields.sender.get());
        }
        let json = self.shown(&before)?;
        let fields: Fields<'_> = serde_json::from_slice(&json).map_err(|_| damaged())?;
        field("prev_content", fields.content.get());
        Ok(())
    }

    /// The viewer's membership at an event: after it, if it is the viewer's own
    /// membership (client-server API, `unsigned.membership`).
    fn membership_at(
        &self,
        event: &ClientEvent,
        fields: &Fields<'_>,
        told: Told,
    ) -> Result<Option<Membership>, ReadError> {
        if told == Told::Common {
            return Ok(None);
        }
        let own = fields.event_type.get() == "\"m.room.member\""
            && fields
                .state_key
                .is_some_and(|key| key.get() == self.viewer_quoted);
        if own {
            let content: Option<MemberContent> = serde_json::from_str(fields.content.get()).ok();
            return Ok(content.and_then(|content| Membership::from_name(&content.membership)));
        }
        if self.came_during_stay(event) {
            return Ok(Some(Membership::Join));
        }
        if told == Told::Cheap {
            return Ok(None);
        }
        Ok(Some(
            self.membership_in(event.meta.state_before)?
                .unwrap_or(Membership::Leave),
        ))
    }

    /// The event's content as JSON.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn content(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let json = self.shown(event)?;
        let fields: Fields<'_> = serde_json::from_slice(&json).map_err(|_| damaged())?;
        Ok(fields.content.get().to_owned())
    }

    /// The event's own JSON, or what its redaction has left of it.
    pub(crate) fn shown<'e>(&self, event: &'e ClientEvent) -> Result<Cow<'e, [u8]>, ReadError> {
        if event.redacted_by.is_none() {
            return Ok(Cow::Borrowed(&event.stored.json));
        }
        let whole = checked(event.stored.clone(), self.version, &self.room_id)?;
        Ok(Cow::Owned(
            graph::redact(&whole)?.json().as_bytes().to_vec(),
        ))
    }

    /// The event stripped to what somebody outside the room may see of it
    /// (client-server API, "Stripped state").
    ///
    /// # Errors
    /// If the event is damaged.
    pub fn stripped(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let json = self.shown(event)?;
        let fields: Fields<'_> = serde_json::from_slice(&json).map_err(|_| damaged())?;
        let state_key = fields.state_key.map_or("\"\"", RawValue::get);
        Ok(format!(
            "{{\"type\":{},\"sender\":{},\"state_key\":{state_key},\"content\":{}}}",
            fields.event_type, fields.sender, fields.content
        ))
    }
}
