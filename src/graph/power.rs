//! Who may do what: the power levels of a room, read once, for decisions outside of the authorisation rules.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedUserId, UserId, room_version_rules::AuthorizationRules};
use ruma_events::TimelineEventType;
use ruma_state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField};

use crate::{Event, Reason, Version};

/// The level of a room's creator where no power levels event says otherwise (before version 12).
const CREATOR_LEVEL: i64 = 100;

/// The level needed to notify the whole room where no power levels event says otherwise.
const NOTIFICATION_LEVEL: i64 = 50;

/// What a user's power is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PowerLevel {
    /// A number, compared with the levels of the room.
    Level(i64),
    /// More than every number: the creators, since version 12.
    Infinite,
}

impl PowerLevel {
    /// Whether this is enough for what needs `level`.
    pub fn reaches(self, level: i64) -> bool {
        self >= Self::Level(level)
    }
}

/// The power levels of a room at one point of its history (client-server API, `m.room.power_levels`), defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerLevels {
    creators: BTreeSet<OwnedUserId>,
    creators_are_privileged: bool,
    users: BTreeMap<OwnedUserId, i64>,
    users_default: i64,
    events: BTreeMap<TimelineEventType, i64>,
    events_default: i64,
    state_default: i64,
    notifications: BTreeMap<String, i64>,
    ban: i64,
    kick: i64,
    invite: i64,
    redact: i64,
}

impl PowerLevels {
    /// The levels that a room's create event and, where it has one, its power levels event give.
    ///
    /// # Errors
    /// [`Reason::BadFormat`] if a level cannot be read. The authorisation rules let no such event into a room.
    pub fn new(create: &Event, power_levels: Option<&Event>) -> Result<Self, Reason> {
        let rules = &create.version().rules().authorization;
        let creators = RoomCreateEvent::new(create)
            .creators(rules)
            .map_err(Reason::BadFormat)?;
        let read = Levels {
            event: power_levels.map(RoomPowerLevelsEvent::new),
            rules,
        };
        let privileged = create.version().creators_are_privileged();
        let users = match &read.event {
            Some(event) => integers(event.users(rules).map_err(Reason::BadFormat)?.cloned()),
            None if privileged => BTreeMap::new(),
            None => creators
                .iter()
                .map(|creator| (creator.clone(), CREATOR_LEVEL))
                .collect(),
        };
        Ok(Self {
            creators: creators.into_iter().collect(),
            creators_are_privileged: privileged,
            users,
            users_default: read.field(RoomPowerLevelsIntField::UsersDefault)?,
            events: read.map(RoomPowerLevelsEvent::events)?,
            events_default: read.field(RoomPowerLevelsIntField::EventsDefault)?,
            state_default: read.field(RoomPowerLevelsIntField::StateDefault)?,
            notifications: read.map(RoomPowerLevelsEvent::notifications)?,
            ban: read.field(RoomPowerLevelsIntField::Ban)?,
            kick: read.field(RoomPowerLevelsIntField::Kick)?,
            invite: read.field(RoomPowerLevelsIntField::Invite)?,
            redact: read.field(RoomPowerLevelsIntField::Redact)?,
        })
    }

    /// The power of a user, member or not.
    pub fn user(&self, user: &UserId) -> PowerLevel {
        if self.creators_are_privileged && self.creators.contains(user) {
            PowerLevel::Infinite
        } else {
            PowerLevel::Level(self.users.get(user).copied().unwrap_or(self.users_default))
        }
    }

    /// Those who created the room. Before version 12 this gives them no power by itself.
    pub fn creators(&self) -> impl Iterator<Item = &UserId> {
        self.creators.iter().map(|creator| &**creator)
    }

    /// All users whose level is given one by one, in the order of their ids.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, i64)> {
        self.users.iter().map(|(user, level)| (&**user, *level))
    }

    /// The level that sending an event of this type needs, if it is not state.
    pub fn to_send_message(&self, event_type: &str) -> i64 {
        let event_type = TimelineEventType::from(event_type);
        self.events
            .get(&event_type)
            .copied()
            .unwrap_or(self.events_default)
    }

    /// The level that setting state of this type needs. Memberships have rules of their own.
    pub fn to_send_state(&self, event_type: &str) -> i64 {
        let event_type = TimelineEventType::from(event_type);
        self.events
            .get(&event_type)
            .copied()
            .unwrap_or(self.state_default)
    }

    /// The level that banning needs; the banned must also have less power than who bans.
    pub fn to_ban(&self) -> i64 {
        self.ban
    }

    /// The level that kicking needs; the kicked must also have less power than who kicks.
    pub fn to_kick(&self) -> i64 {
        self.kick
    }

    /// The level that inviting needs.
    pub fn to_invite(&self) -> i64 {
        self.invite
    }

    /// The level that redacting the events of others needs.
    pub fn to_redact(&self) -> i64 {
        self.redact
    }

    /// The level that a notification of this kind needs: `room` for `@room`.
    pub fn to_notify(&self, kind: &str) -> i64 {
        self.notifications
            .get(kind)
            .copied()
            .unwrap_or(NOTIFICATION_LEVEL)
    }
}

/// The power of a sender, as far as a create and a power levels event tell it. Unlike [`PowerLevels::new`] it is never refused: events that
/// a resolution orders may come from anywhere.
pub(crate) fn sender_power(
    sender: &UserId,
    create: Option<&Event>,
    power_levels: Option<&Event>,
    version: Version,
) -> PowerLevel {
    let rules = &version.rules().authorization;
    let creates = create.is_some_and(|create| {
        RoomCreateEvent::new(create)
            .creators(rules)
            .is_ok_and(|creators| creators.iter().any(|creator| creator == sender))
    });
    if creates && version.creators_are_privileged() {
        return PowerLevel::Infinite;
    }
    let Some(power_levels) = power_levels else {
        return PowerLevel::Level(if creates { CREATOR_LEVEL } else { 0 });
    };
    let power_levels = RoomPowerLevelsEvent::new(power_levels);
    let level = power_levels.user_power_level(sender, rules);
    PowerLevel::Level(level.map_or(0, Into::into))
}

/// A power levels event that may be absent.
struct Levels<'a> {
    event: Option<RoomPowerLevelsEvent<&'a Event>>,
    rules: &'a AuthorizationRules,
}

impl<'a> Levels<'a> {
    fn field(&self, field: RoomPowerLevelsIntField) -> Result<i64, Reason> {
        let level = match &self.event {
            Some(event) => event
                .get_as_int_or_default(field, self.rules)
                .map_err(Reason::BadFormat)?,
            None => field.default_value(),
        };
        Ok(level.into())
    }

    fn map<K: Ord, V: Into<i64>>(
        &self,
        read: impl Fn(
            &RoomPowerLevelsEvent<&'a Event>,
            &AuthorizationRules,
        ) -> Result<Option<BTreeMap<K, V>>, String>,
    ) -> Result<BTreeMap<K, i64>, Reason> {
        match &self.event {
            Some(event) => Ok(integers(
                read(event, self.rules).map_err(Reason::BadFormat)?,
            )),
            None => Ok(BTreeMap::new()),
        }
    }
}

fn integers<K: Ord, V: Into<i64>>(levels: Option<BTreeMap<K, V>>) -> BTreeMap<K, i64> {
    levels
        .into_iter()
        .flatten()
        .map(|(key, level)| (key, level.into()))
        .collect()
}
