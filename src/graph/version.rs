//! The room versions that this server knows, and how they differ.

use std::fmt;

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, UserId,
    room_version_rules::RoomVersionRules,
};

use crate::Reason;

/// A room version. Its rules are all known here, and rooms can be created in it.
///
/// Versions 1 to 5 do not enforce canonical JSON: other servers may send there what this one would not, whose own events are canonical in every
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Room version 1: event ids that servers choose, the first state resolution.
    V1,
    /// Room version 2: the second state resolution.
    V2,
    /// Room version 3: an event's id is its hash.
    V3,
    /// Room version 4: ids without `/` and `+`.
    V4,
    /// Room version 5: keys are valid only as long as they say.
    V5,
    /// Room version 6.
    V6,
    /// Room version 7: knocking.
    V7,
    /// Room version 8: restricted joins.
    V8,
    /// Room version 9: redaction keeps who authorised a join.
    V9,
    /// Room version 10: `knock_restricted`, power levels are integers only.
    V10,
    /// Room version `org.matrix.msc3757.10`, which is 10 with state that is owned (MSC3757).
    Owned10,
    /// Room version 11: the creator is the sender of the create event, new redaction rules.
    V11,
    /// Room version `org.matrix.msc3757.11`, which is 11 with state that is owned (MSC3757).
    Owned11,
    /// Room version 12: creators stand above all power levels, the room id is the hash of the create event.
    V12,
}

impl Version {
    /// All versions, oldest first.
    pub const KNOWN: [Self; 14] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V10,
        Self::Owned10,
        Self::V11,
        Self::Owned11,
        Self::V12,
    ];

    /// Reads the name of a version, as it stands in `content.room_version` of a create event: `"12"`.
    ///
    /// # Errors
    /// [`Reason::UnsupportedVersion`] for any other name.
    pub fn parse(name: &str) -> Result<Self, Reason> {
        Self::KNOWN
            .into_iter()
            .find(|version| version.as_str() == name)
            .ok_or_else(|| Reason::UnsupportedVersion(name.to_owned()))
    }

    /// The version with this number, the inverse of [`Version::number`].
    pub fn from_number(number: u8) -> Option<Self> {
        Self::KNOWN
            .into_iter()
            .find(|version| version.number() == number)
    }

    /// The version as a number, 1 to 14: for stored records.
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 => 4,
            Self::V5 => 5,
            Self::V6 => 6,
            Self::V7 => 7,
            Self::V8 => 8,
            Self::V9 => 9,
            Self::V10 => 10,
            Self::V11 => 11,
            Self::V12 => 12,
            Self::Owned10 => 13,
            Self::Owned11 => 14,
        }
    }

    /// The version's name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
            Self::Owned10 => "org.matrix.msc3757.10",
            Self::Owned11 => "org.matrix.msc3757.11",
        }
    }

    /// The version as the id that requests and answers carry.
    pub fn id(self) -> RoomVersionId {
        match self {
            Self::V1 => RoomVersionId::V1,
            Self::V2 => RoomVersionId::V2,
            Self::V3 => RoomVersionId::V3,
            Self::V4 => RoomVersionId::V4,
            Self::V5 => RoomVersionId::V5,
            Self::V6 => RoomVersionId::V6,
            Self::V7 => RoomVersionId::V7,
            Self::V8 => RoomVersionId::V8,
            Self::V9 => RoomVersionId::V9,
            Self::V10 => RoomVersionId::V10,
            Self::V11 => RoomVersionId::V11,
            Self::V12 => RoomVersionId::V12,
            // Any text of this length is an id; what has no name in ruma is kept as it is.
            Self::Owned10 | Self::Owned11 => {
                RoomVersionId::try_from(self.as_str()).unwrap_or(RoomVersionId::V11)
            }
        }
    }

    /// Everything in which the version differs from others.
    pub fn rules(self) -> &'static RoomVersionRules {
        match self {
            Self::V1 => &RoomVersionRules::V1,
            Self::V2 => &RoomVersionRules::V2,
            Self::V3 => &RoomVersionRules::V3,
            Self::V4 => &RoomVersionRules::V4,
            Self::V5 => &RoomVersionRules::V5,
            Self::V6 => &RoomVersionRules::V6,
            Self::V7 => &RoomVersionRules::V7,
            Self::V8 => &RoomVersionRules::V8,
            Self::V9 => &RoomVersionRules::V9,
            Self::V10 | Self::Owned10 => &RoomVersionRules::V10,
            Self::V11 | Self::Owned11 => &RoomVersionRules::V11,
            Self::V12 => &RoomVersionRules::V12,
        }
    }

    /// Whether the specification has the version: for `m.room_versions` of the capabilities.
    pub fn is_stable(self) -> bool {
        !self.has_owned_state()
    }

    /// Whether a user id followed by `_` at the beginning of a state key means that the state is that user's, and whether who has more power than
    /// its owner may set it (MSC3757).
    pub fn has_owned_state(self) -> bool {
        matches!(self, Self::Owned10 | Self::Owned11)
    }

    /// Whether the room's creators stand above every power level and may not be listed in one (since 12). The same versions
    /// know `additional_creators`.
    pub fn creators_are_privileged(self) -> bool {
        self.rules()
            .authorization
            .explicitly_privilege_room_creators
    }

    /// Whether the room id is the create event's id with `!` for `$` (since 12). Such a create event has no `room_id` and is in nobody's
    /// `auth_events`.
    pub fn room_id_is_create_event(self) -> bool {
        self.rules().authorization.room_create_event_id_as_room_id
    }

    /// Whether a create event must name its sender in `content.creator` (before 11).
    pub fn create_has_creator_field(self) -> bool {
        !self.rules().authorization.use_room_create_sender
    }

    /// Whether a redaction names its target in `content.redacts` (since 11) instead of a top-level `redacts`.
    pub fn redacts_in_content(self) -> bool {
        self.rules().redaction.content_field_redacts
    }

    /// Whether events must be canonical JSON as it is specified (since 6). Before, numbers may have fractions and any size.
    pub fn has_canonical_json(self) -> bool {
        self.rules().authorization.strict_canonical_json
    }

    /// Whether servers choose the ids of events, and events name others by pairs of id and hashes (before 3).
    pub fn has_chosen_event_ids(self) -> bool {
        self.rules().event_format.require_event_id
    }

    /// Whether a key vouches only for events made while it was valid (since 5).
    pub fn enforces_key_validity(self) -> bool {
        self.rules().enforce_key_validity
    }

    /// Which algorithm resolves the forks of a room's state.
    pub fn state_resolution(self) -> StateResolution {
        match self {
            Self::V1 => StateResolution::V1,
            Self::V12 => StateResolution::V2_1,
            _ => StateResolution::V2,
        }
    }

    /// Whether the `knock` membership and join rule exist (since 7).
    pub fn knows_knocking(self) -> bool {
        self.rules().authorization.knocking
    }

    /// Whether the `restricted` join rule exists (since 8).
    pub fn knows_restricted_joins(self) -> bool {
        self.rules().authorization.restricted_join_rule
    }

    /// Whether the `knock_restricted` join rule exists (since 10).
    pub fn knows_knock_restricted_joins(self) -> bool {
        self.rules().authorization.knock_restricted_join_rule
    }

    /// Gives the content of a create event what this version demands of it: `room_version`, and `creator` where the version has it. What
    /// a client put there is replaced; a `creator` that the version does not know is taken out.
    pub fn complete_create_content(self, content: &mut CanonicalJsonObject, creator: &UserId) {
        let mut set = |name: &str, value: &str| {
            content.insert(
                name.to_owned(),
                CanonicalJsonValue::String(value.to_owned()),
            )
        };
        set("room_version", self.as_str());
        if self.create_has_creator_field() {
            set("creator", creator.as_str());
        } else {
            content.remove("creator");
        }
    }
}

/// The algorithms of state resolution (room versions, "State resolution").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateResolution {
    /// Of room version 1, which can bring old state back.
    V1,
    /// Of room versions 2 to 11.
    V2,
    /// Since room version 12 (MSC4297): begins with an empty state and replays what lies between the conflicting events.
    V2_1,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl TryFrom<&RoomVersionId> for Version {
    type Error = Reason;

    fn try_from(id: &RoomVersionId) -> Result<Self, Reason> {
        Self::parse(id.as_str())
    }
}
