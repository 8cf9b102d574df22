//! Events as clients see them.

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap},
};

use graph::Version;
use model::{
    DeviceSerial, EventSerial, Membership, MembershipRecord, RoomSerial, StateRoot, UserSerial,
    tables,
};
use store::{Read, StoreError};

use crate::{
    ClientEvent, ReadError, Rooms, StateMaps,
    client_event::load_events,
    event_cache::Remembered,
    form::{DELAY_ID, Fields, STICKY_LEFT, damaged, quoted, shared_part},
    identities::{Identities, RoomIdentity},
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

/// How much is told about an event.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Everything,
    /// What costs no walk through the state of back then.
    Cheap,
    /// What is the same for all: nothing about the viewer.
    Common,
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
    /// What others have read of the room, if this may be used.
    remembered: Option<Remembered<'a>>,
    identities: Option<&'a Identities>,
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
        let identity = RoomIdentity {
            room_id: record.room_id,
            version,
        };
        let viewer_id = model::user_id(view, viewer.user)?.unwrap_or_default();
        Self::of(view, (room, &identity), secret, (viewer, viewer_id), now)
    }

    /// The same, reading from memory what others have read, where the view allows that.
    pub(crate) fn remembering(
        rooms: &'a Rooms,
        view: &'a R,
        room: RoomSerial,
        viewer: Viewer,
    ) -> Result<Self, ReadError> {
        let Rooms { inner } = rooms;
        let identity = inner.identities.room(view, room)?;
        let viewer_id = inner.identities.user(view, viewer.user)?;
        let viewer_id = viewer_id.as_deref().unwrap_or_default().to_owned();
        let (secret, now) = (inner.store.secret(), inner.clock.now().0);
        let reader = Self::of(view, (room, &identity), secret, (viewer, viewer_id), now)?;
        Ok(Self {
            remembered: inner.events.seen_from(&inner.store, view, room),
            identities: Some(&inner.identities),
            ..reader
        })
    }

    fn of(
        view: &'a R,
        (room, identity): (RoomSerial, &RoomIdentity),
        secret: &'a [u8; 32],
        (viewer, viewer_id): (Viewer, String),
        now: u64,
    ) -> Result<Self, ReadError> {
        Ok(Self {
            stay: view.get(&tables::MEMBERSHIP_BY_USER, &(viewer.user, room))?,
            viewer_quoted: quoted(&viewer_id),
            view,
            room,
            room_id: identity.room_id.clone(),
            version: identity.version,
            secret,
            viewer,
            viewer_id,
            now,
            memberships: RefCell::default(),
            erased: RefCell::default(),
            newest_bundled: NewestBundled::default(),
            ignored: OnceCell::new(),
            remembered: None,
            identities: None,
        })
    }

    /// The user id behind a serial.
    ///
    /// # Errors
    /// If the database fails.
    pub fn user_id(&self, user: UserSerial) -> Result<Option<String>, StoreError> {
        match self.identities {
            Some(identities) => {
                let user_id = identities.user(self.view, user)?;
                Ok(user_id.map(|user_id| user_id.as_ref().to_owned()))
            }
            None => model::user_id(self.view, user),
        }
    }

    /// Who looks.
    pub fn viewer(&self) -> Viewer {
        self.viewer
    }

    /// The viewer's membership of the room, if there is one.
    pub(crate) fn stay(&self) -> Option<&MembershipRecord> {
        self.stay.as_ref()
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
        if let Some(remembered) = &self.remembered
            && let Some(event) = remembered.get(serial)
        {
            return Ok(Some(event));
        }
        let Some(stored) = self.view.get(&tables::EVENT_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        let Some(meta) = self.view.get(&tables::EVENT_META_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        if stored.room != self.room {
            return Ok(None);
        }
        let event = ClientEvent {
            serial,
            stored: std::sync::Arc::new(stored.into()),
            meta,
            redacted_by: self.view.get(&tables::REDACTION_BY_EVENT, &serial)?,
        };
        if let Some(remembered) = &self.remembered {
            remembered.put([&event]);
        }
        Ok(Some(event))
    }

    /// The events of some serials, in their order, without those that are not of this
    /// room or not there any more: cheaper than one by one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn load_many(&self, serials: &[EventSerial]) -> Result<Vec<ClientEvent>, ReadError> {
        let Some(remembered) = &self.remembered else {
            return load_events(self.view, self.room, serials);
        };
        let mut events = remembered.get_many(serials);
        let unknown = serials.iter().zip(&events);
        let unknown = unknown.filter(|(_, event)| event.is_none());
        let unknown: Vec<EventSerial> = unknown.map(|(serial, _)| *serial).collect();
        if !unknown.is_empty() {
            let read = load_events(self.view, self.room, &unknown)?;
            remembered.put(&read);
            let mut read = read.into_iter().peekable();
            for (serial, event) in serials.iter().zip(&mut events) {
                if event.is_none() {
                    *event = read.next_if(|event| event.serial == *serial);
                }
            }
        }
        Ok(events.into_iter().flatten().collect())
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

    /// The viewer's membership in the state under `root`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn membership_in(&self, root: StateRoot) -> Result<Option<Membership>, ReadError> {
        if let Some(known) = self.memberships.borrow().get(&root) {
            return Ok(*known);
        }
        let membership = match self.state_event(root, "m.room.member", &self.viewer_id)? {
            Some(event) => event.membership(),
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
        let whole = event.stored.checked(self.version, &self.room_id)?;
        let redacted = graph::redact(&whole)?;
        let fields = Fields::of(redacted.json().as_bytes()).ok_or_else(damaged)?;
        let json = self.format(event, &fields, true, None, Told::Everything)?;
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

    /// The same with the room's id, of an event of a list of state.
    ///
    /// # Errors
    /// As [`EventReader::json`].
    pub(crate) fn listed_json(&self, event: &ClientEvent) -> Result<String, ReadError> {
        self.json_told(event, true, Told::Cheap)
    }

    /// The same of a new event for an application service, which looks for many users at
    /// once: with its room's id, with nothing about the viewer. An invitation comes with
    /// what the invited one is shown of the room.
    ///
    /// # Errors
    /// As [`EventReader::json`].
    pub fn service_json(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let json = self.json_told(event, true, Told::Common)?;
        if event.membership() != Some(Membership::Invite) {
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
            return self.format(event, &event.stored.fields()?, with_room_id, None, told);
        }
        let whole = event.stored.checked(self.version, &self.room_id)?;
        let redacted = graph::redact(&whole)?;
        let fields = Fields::of(redacted.json().as_bytes()).ok_or_else(damaged)?;
        self.format(event, &fields, with_room_id, redacted_because, told)
    }

    /// Whether the sender asked to be forgotten, and the viewer was not there when the
    /// event was sent (client-server API, "Account deactivation", `erase`).
    fn is_erased_for_viewer(&self, event: &ClientEvent) -> Result<bool, ReadError> {
        if self.came_during_stay(event) {
            return Ok(false);
        }
        let fields = event.stored.fields()?;
        if fields.state_key.is_some() || !self.is_erased(&fields.sender_id())? {
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
        let fields = event.stored.fields()?;
        Ok(fields.state_key.is_none() && ignored.contains(fields.sender_id().as_ref()))
    }

    /// Puts the client's form together from pieces of the stored one.
    fn format(
        &self,
        event: &ClientEvent,
        fields: &Fields<'_>,
        with_room_id: bool,
        because: Option<&str>,
        told: Told,
    ) -> Result<String, ReadError> {
        let event_id = &event.stored.event_id;
        let room_id = with_room_id.then_some(self.room_id.as_str());
        let mut out = shared_part(fields, event_id, self.version, room_id);
        out.push_str(",\"unsigned\":");
        self.unsigned(&mut out, event, fields, because, told)?;
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
        let sent_at: u64 = fields.origin_server_ts.parse().unwrap_or(self.now);
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
            && fields.sender == self.viewer_quoted
            && let Some(sent) = self
                .view
                .get(&tables::TRANSACTION_BY_EVENT, &event.serial)?
            && sent.device == device
        {
            field("transaction_id", &quoted(&sent.transaction_id));
        }
        if fields.sender == self.viewer_quoted
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
        let fields = before.stored.fields()?;
        field("prev_sender", fields.sender);
        match before.redacted_by {
            None => field("prev_content", fields.content),
            Some(_) => field("prev_content", &self.content(&before)?),
        }
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
        let is_own = fields.is_membership() && fields.state_key == Some(&self.viewer_quoted);
        if is_own {
            return Ok(fields.membership());
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
        if event.redacted_by.is_none() {
            return Ok(event.stored.fields()?.content.to_owned());
        }
        let json = self.shown(event)?;
        let fields = Fields::of(&json).ok_or_else(damaged)?;
        Ok(fields.content.to_owned())
    }

    /// The event's own JSON, or what its redaction has left of it.
    pub(crate) fn shown<'e>(&self, event: &'e ClientEvent) -> Result<Cow<'e, [u8]>, ReadError> {
        if event.redacted_by.is_none() {
            return Ok(Cow::Borrowed(&event.stored.json));
        }
        let whole = event.stored.checked(self.version, &self.room_id)?;
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
        let fields = Fields::of(&json).ok_or_else(damaged)?;
        let state_key = fields.state_key.unwrap_or("\"\"");
        // Of the create event also when that was (MSC4311).
        let sent_at = match fields.event_type {
            "\"m.room.create\"" => format!(",\"origin_server_ts\":{}", fields.origin_server_ts),
            _ => String::new(),
        };
        Ok(format!(
            "{{\"type\":{},\"sender\":{},\"state_key\":{state_key},\"content\":{}{sent_at}}}",
            fields.event_type, fields.sender, fields.content
        ))
    }
}
