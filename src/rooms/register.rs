//! The register of groups: for any room and any moment who was in it, with which power and
//! invited by whom; for any person in which rooms, from when to when.
//!
//! Its rows are written in the commit that changes a membership, or what a room's state says of
//! its name, levels, entry and visibility. They are never deleted.

mod backfill;
mod read;

pub use read::{
    MemberThen, PersonStay, RegisterError, RegisterPart, RoomThen, register_of_person,
    register_of_room,
};

use model::{
    EventSerial, MembershipRecord, RoomSerial, RuleRecord, StayRecord, UserSerial,
    tables::{RULE_BY_ROOM, STAY_BY_ROOM},
};
use store::{Batch, Position};

pub(crate) const NAME: &str = "m.room.name";
pub(crate) const POWER_LEVELS: &str = "m.room.power_levels";
pub(crate) const JOIN_RULES: &str = "m.room.join_rules";
pub(crate) const VISIBILITY: &str = "m.room.history_visibility";

/// Whether the register follows the state of this type, under an empty key.
fn is_followed(event_type: &str) -> bool {
    [NAME, POWER_LEVELS, JOIN_RULES, VISIBILITY].contains(&event_type)
}

/// Writes that a membership is another one from now on.
pub(crate) fn stay(
    batch: &mut Batch,
    (room, member): (RoomSerial, UserSerial),
    (position, since): (Position, u64),
    record: &MembershipRecord,
) {
    let stay = StayRecord {
        membership: record.membership,
        since,
        sender: record.sender,
        event: record.event,
    };
    batch.put(&STAY_BY_ROOM, &(room, member, position), &stay);
}

/// Writes that a part of a room's state is another one from now on, if the register follows it.
/// `is_earlier`: it had happened before this server came into the room.
pub(crate) fn rule(
    batch: &mut Batch,
    room: RoomSerial,
    (event_type, state_key): (&str, &str),
    (position, since): (Position, u64),
    event: Option<EventSerial>,
    is_earlier: bool,
) {
    if state_key.is_empty() && is_followed(event_type) {
        let rule = RuleRecord {
            since,
            event,
            is_earlier,
        };
        let key = (room, event_type.to_owned(), position);
        batch.put(&RULE_BY_ROOM, &key, &rule);
    }
}
