//! Making a room (client-server API, "Creation").

use graph::{Reason, Version};
use model::{RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomAliasId};
use store::{Latest, Read as _};

use crate::{
    AppendError, NewEvent, Rooms, Sender,
    aliases::{add_alias, publish},
    membership::member_event,
    partners, profile,
    rows::Extra,
    send::named_aliases,
    staging::Staging,
    user_serial,
};

/// The most events that a room can begin with.
const MAX_EVENTS: usize = 1000;
/// The level of a creator before version 12, and of those trusted like one.
pub(crate) const CREATOR_LEVEL: i64 = 100;
/// The level that ending a room needs since version 12: only its creators have more.
const TOMBSTONE_LEVEL: i64 = 150;

/// What a room begins as when nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// For those who are invited.
    PrivateChat,
    /// For those who are invited, all with the creator's power.
    TrustedPrivateChat,
    /// For everybody of this server and others.
    PublicChat,
}

impl Preset {
    /// `join_rule`, `history_visibility` and `guest_access`. That guests are forbidden goes
    /// without saying.
    fn rules(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let (join_rule, guests) = match self {
            Self::PrivateChat | Self::TrustedPrivateChat => ("invite", Some("can_join")),
            Self::PublicChat => ("public", None),
        };
        let guests = guests.map(|access| ("m.room.guest_access", "guest_access", access));
        [
            ("m.room.join_rules", "join_rule", join_rule),
            ("m.room.history_visibility", "history_visibility", "shared"),
        ]
        .into_iter()
        .chain(guests)
    }
}

/// How a room shall begin: the body of `POST /createRoom`.
#[derive(Clone, Debug, Default)]
pub struct CreateRoom {
    /// The room version; none for this server's default.
    pub version: Option<String>,
    /// The preset; none for the one that goes with `published`.
    pub preset: Option<Preset>,
    /// Whether the room shall stand in the public directory.
    pub published: bool,
    /// The room's name.
    pub name: Option<String>,
    /// The room's topic.
    pub topic: Option<String>,
    /// More content of the create event.
    pub creation_content: CanonicalJsonObject,
    /// State events beside those of the preset.
    pub initial_state: Vec<NewEvent>,
    /// Whom to invite. Users of other servers count for the power levels; they are invited
    /// when the room is there, by whoever speaks with their server.
    pub invite: Vec<OwnedUserId>,
    /// Whether the invitations say that this is a direct chat.
    pub is_direct: bool,
    /// The alias's part before the colon.
    pub room_alias_name: Option<String>,
    /// Laid over the content of the power levels event.
    pub power_level_content_override: CanonicalJsonObject,
    /// The user to whom the server speaks in this room, if that is what it is for.
    pub notices_for: Option<UserSerial>,
}

impl CreateRoom {
    fn preset(&self) -> Preset {
        self.preset.unwrap_or(if self.published {
            Preset::PublicChat
        } else {
            Preset::PrivateChat
        })
    }
}

impl Rooms {
    /// Makes a room and returns its id. All its first events enter in one commit.
    ///
    /// # Errors
    /// - [`AppendError::Refused`] with [`Reason::UnsupportedVersion`].
    /// - [`AppendError::AliasTaken`] if the alias exists.
    /// - [`AppendError::InvalidRoomState`] if the events do not allow each other.
    pub async fn create(
        &self,
        creator: &Sender,
        mut wish: CreateRoom,
    ) -> Result<OwnedRoomId, AppendError> {
        let version = wish.version.as_deref();
        let version = Version::parse(version.unwrap_or(&self.inner.options.default_version))?;
        wish.invite.sort();
        wish.invite.dedup();
        let alias = self.alias_of(&wish)?;
        let room = RoomSerial(self.inner.store.next_serial());
        let published = wish.published;
        let rooms = self.clone();
        let who = creator.clone();
        let named = alias.clone();
        let (user, notices_for) = (creator.user, wish.notices_for);
        let (maker, wished) = (creator.clone(), wish.clone());
        let (allows, now) = (
            self.inner.options.partner_direct_chats,
            self.inner.clock.now().0,
        );
        let extra = Extra::rows(move |latest, room, batch| {
            if partners::may_create(latest, &maker, &wished, allows)? {
                partners::open(batch, room, &maker, now);
            }
            if let Some(alias) = &alias {
                add_alias(latest, batch, alias, room, user)?;
            }
            if let Some(user) = notices_for {
                if latest.contains(&tables::NOTICE_ROOM_BY_USER, &user)? {
                    return Err(AppendError::BadState("there is such a room".to_owned()));
                }
                batch.put(&tables::NOTICE_ROOM_BY_USER, &user, &room);
            }
            if published {
                publish(batch, room);
            }
            Ok(())
        });
        let (room_id, written) = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let latest = writing.latest();
                let staging = rooms.stage_room(latest, room, version, &who, &wish, named)?;
                let room_id = staging.room_id.clone().ok_or(AppendError::UnknownRoom)?;
                let (_, written) = rooms.write_staging(writing, staging, &who, None, extra, end)?;
                Ok::<_, AppendError>((room_id, written))
            })
            .await?;
        written.durable().await?;
        Ok(room_id)
    }

    fn alias_of(&self, wish: &CreateRoom) -> Result<Option<String>, AppendError> {
        let Some(name) = &wish.room_alias_name else {
            return Ok(None);
        };
        if name.contains(':') {
            return Err(AppendError::Invalid(
                "room_alias_name is the part of the alias before the colon".to_owned(),
            ));
        }
        let alias = format!("#{name}:{}", self.inner.server_name);
        RoomAliasId::parse(alias.as_str())
            .map_err(|error| AppendError::Invalid(format!("room_alias_name: {error}")))?;
        Ok(Some(alias))
    }

    /// A room id that nobody has, for versions that do not make it of the create event.
    pub(crate) fn new_room_id(&self) -> Result<OwnedRoomId, AppendError> {
        let name = self.inner.random.token();
        let room_id = OwnedRoomId::try_from(format!("!{name}:{}", self.inner.server_name));
        room_id.map_err(|error| AppendError::Invalid(error.to_string()))
    }

    fn stage_room(
        &self,
        latest: &Latest,
        room: RoomSerial,
        version: Version,
        creator: &Sender,
        wish: &CreateRoom,
        alias: Option<String>,
    ) -> Result<Staging, AppendError> {
        let events = first_events(latest, version, creator, wish, alias)?;
        if events.len() > MAX_EVENTS {
            return Err(AppendError::Invalid(format!(
                "a room begins with at most {MAX_EVENTS} events"
            )));
        }
        let room_id = if version.room_id_is_create_event() {
            None
        } else {
            Some(self.new_room_id()?)
        };
        let mut staging = Staging::new_room(version, room, room_id, self.creation_time());
        for event in events {
            staging
                .stage(self, latest, creator, event)
                .map_err(contradiction)?;
        }
        Ok(staging)
    }
}

/// What a room's own beginning does not allow is a mistake of the whole request.
pub(crate) fn contradiction(error: AppendError) -> AppendError {
    match error {
        AppendError::Refused(Reason::Forbidden(text)) | AppendError::Forbidden(text) => {
            AppendError::InvalidRoomState(text)
        }
        AppendError::Refused(Reason::BadFormat(text)) | AppendError::Invalid(text) => {
            AppendError::InvalidRoomState(text)
        }
        other => other,
    }
}

/// The first events of a room, in the spec's order.
fn first_events(
    latest: &Latest,
    version: Version,
    creator: &Sender,
    wish: &CreateRoom,
    alias: Option<String>,
) -> Result<Vec<NewEvent>, AppendError> {
    let mut events = vec![create_event(version, creator, wish)?];
    let mut member = profile::membership("join", None);
    profile::add(latest, creator.user, &mut member)?;
    events.push(member_event(&creator.user_id, member));
    let levels = power_levels(version, creator, wish);
    events.push(NewEvent::state("m.room.power_levels", "", levels));
    if let Some(alias) = &alias {
        let content = object([("alias", alias.clone().into())]);
        events.push(NewEvent::state("m.room.canonical_alias", "", content));
    }
    let initial = |event_type: &str| {
        let is_it = |event: &NewEvent| {
            event.event_type == event_type && event.state_key.as_deref() == Some("")
        };
        wish.initial_state.iter().any(is_it)
    };
    for (event_type, field, value) in wish.preset().rules() {
        if !initial(event_type) {
            let content = object([(field, value.to_owned().into())]);
            events.push(NewEvent::state(event_type, "", content));
        }
    }
    for event in &wish.initial_state {
        check_initial(event, alias.as_deref())?;
        let is_overwritten = event.state_key.as_deref() == Some("")
            && ((event.event_type == "m.room.name" && wish.name.is_some())
                || (event.event_type == "m.room.topic" && wish.topic.is_some()));
        if !is_overwritten {
            events.push(event.clone());
        }
    }
    if let Some(name) = &wish.name {
        let content = object([("name", name.clone().into())]);
        events.push(NewEvent::state("m.room.name", "", content));
    }
    if let Some(topic) = &wish.topic {
        events.push(NewEvent::state("m.room.topic", "", topic_content(topic)));
    }
    let own = creator.user_id.server_name();
    let here = wish.invite.iter();
    for user_id in here.filter(|user_id| user_id.server_name() == own) {
        let mut content = profile::membership("invite", None);
        if wish.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        if let Some(user) = user_serial(latest, user_id.as_str())? {
            profile::add(latest, user, &mut content)?;
        }
        events.push(member_event(user_id, content));
    }
    Ok(events)
}

/// The only alias that a room can begin with is the one that is made with it.
fn check_initial(event: &NewEvent, alias: Option<&str>) -> Result<(), AppendError> {
    if event.event_type != "m.room.canonical_alias" {
        return Ok(());
    }
    for named in named_aliases(&event.content)? {
        if Some(named.as_str()) != alias {
            return Err(AppendError::BadAlias(format!(
                "the alias {named} does not point to this room"
            )));
        }
    }
    Ok(())
}

fn create_event(
    version: Version,
    creator: &Sender,
    wish: &CreateRoom,
) -> Result<NewEvent, AppendError> {
    let mut content = wish.creation_content.clone();
    let trusted = wish.preset() == Preset::TrustedPrivateChat && !wish.invite.is_empty();
    if version.creators_are_privileged() && trusted {
        let mut creators = match content.remove("additional_creators") {
            None => Vec::new(),
            Some(CanonicalJsonValue::Array(creators)) => creators,
            Some(_) => {
                return Err(AppendError::InvalidRoomState(
                    "additional_creators is a list of user ids".to_owned(),
                ));
            }
        };
        for user_id in &wish.invite {
            let user_id = CanonicalJsonValue::String(user_id.to_string());
            if !creators.contains(&user_id) {
                creators.push(user_id);
            }
        }
        content.insert("additional_creators".to_owned(), creators.into());
    }
    version.complete_create_content(&mut content, &creator.user_id);
    Ok(NewEvent::state("m.room.create", "", content))
}

fn power_levels(version: Version, creator: &Sender, wish: &CreateRoom) -> CanonicalJsonObject {
    let preset = wish.preset();
    let mut users = CanonicalJsonObject::new();
    // Since version 12 the creators stand above all levels and must not be listed.
    if !version.creators_are_privileged() {
        users.insert(creator.user_id.to_string(), level(CREATOR_LEVEL));
        if preset == Preset::TrustedPrivateChat {
            for user_id in &wish.invite {
                users.insert(user_id.to_string(), level(CREATOR_LEVEL));
            }
        }
    }
    let events = object([
        ("m.room.name", level(50)),
        ("m.room.avatar", level(50)),
        ("m.room.canonical_alias", level(50)),
        ("m.room.power_levels", level(100)),
        ("m.room.history_visibility", level(100)),
        ("m.room.tombstone", level(100)),
        ("m.room.server_acl", level(100)),
        ("m.room.encryption", level(100)),
    ]);
    let invite = if preset == Preset::PublicChat { 50 } else { 0 };
    let mut content = object([
        ("users", users.into()),
        ("users_default", level(0)),
        ("events", events.into()),
        ("events_default", level(0)),
        ("state_default", level(50)),
        ("ban", level(50)),
        ("kick", level(50)),
        ("redact", level(50)),
        ("invite", level(invite)),
        ("historical", level(100)),
        ("notifications", object([("room", level(50))]).into()),
    ]);
    let over = &wish.power_level_content_override;
    content.extend(
        over.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    if version.creators_are_privileged() {
        guard_tombstone(&mut content, over);
    }
    content
}

/// Ending a room needs more than any other state, unless the creator says otherwise.
fn guard_tombstone(content: &mut CanonicalJsonObject, over: &CanonicalJsonObject) {
    let named = over.get("events").and_then(CanonicalJsonValue::as_object);
    if named.is_some_and(|events| events.contains_key("m.room.tombstone")) {
        return;
    }
    let state_default = content
        .get("state_default")
        .and_then(CanonicalJsonValue::as_integer)
        .map_or(0, i64::from);
    let needed = TOMBSTONE_LEVEL.max(state_default.saturating_add(1));
    if let Some(CanonicalJsonValue::Object(events)) = content.get_mut("events") {
        events.insert("m.room.tombstone".to_owned(), level(needed));
    }
}

/// A topic, with its text as the richer form of it.
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let text = object([("body", topic.to_owned().into())]);
    let rich = object([("m.text", vec![text.into()].into())]);
    object([("topic", topic.to_owned().into()), ("m.topic", rich.into())])
}

pub(crate) fn level(level: i64) -> CanonicalJsonValue {
    level
        .try_into()
        .map_or(CanonicalJsonValue::Null, CanonicalJsonValue::Integer)
}

pub(crate) fn object<const N: usize>(
    entries: [(&str, CanonicalJsonValue); N],
) -> CanonicalJsonObject {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
