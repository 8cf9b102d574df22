//! Records of rooms.

use serde::{Deserialize, Serialize};

use crate::{DeviceSerial, EventSerial, RoomSerial, StateRoot, UserSerial, record::stored};

/// What never changes about a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// `!…`
    pub room_id: String,
    /// The room version's identifier, "12" for instance.
    pub version: String,
    /// The `m.room.create` event.
    pub create_event: EventSerial,
    /// When this server came to know the room, in ms since the Unix epoch.
    pub created_at: u64,
}

/// The end of a room's graph as last written: what the next event builds on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomHead {
    /// The events that no other refers to yet.
    pub extremities: Vec<EventSerial>,
    /// The highest depth in the room.
    pub depth: u64,
    /// The current state.
    pub state: StateRoot,
    /// How many members have joined.
    pub joined: u64,
    /// How many members are invited.
    pub invited: u64,
    /// The commit of the newest event.
    pub position: u64,
    /// The commit of the newest event that lifts the room up in people's lists (MSC4186,
    /// `bump_stamp`).
    pub bumped: u64,
    /// How many of the joined members are of this server. It takes part in the room as long
    /// as there are any.
    pub joined_here: u64,
    /// Whether the state is known in part only: the server by way of which somebody came in
    /// has left the members out, and they are not fetched yet (MSC3902).
    pub is_partial: bool,
}

/// A [`RoomHead`] as version 1 had it.
#[derive(Deserialize)]
struct RoomHead1 {
    extremities: Vec<EventSerial>,
    depth: u64,
    state: StateRoot,
    joined: u64,
    invited: u64,
    position: u64,
}

/// As version 2 had it: with when the room was lifted up. All members were of this server.
#[derive(Deserialize)]
struct RoomHead2 {
    before: RoomHead1,
    bumped: u64,
}

/// As version 3 had it: with how many members are of this server. Every state was whole.
#[derive(Deserialize)]
struct RoomHead3 {
    before: RoomHead2,
    joined_here: u64,
}

impl From<RoomHead1> for RoomHead2 {
    fn from(before: RoomHead1) -> Self {
        // Until something lifts it again, the room stands where it stood.
        let bumped = before.position;
        Self { before, bumped }
    }
}

impl From<RoomHead2> for RoomHead3 {
    fn from(before: RoomHead2) -> Self {
        let joined_here = before.before.joined;
        Self {
            before,
            joined_here,
        }
    }
}

impl From<RoomHead3> for RoomHead {
    fn from(last: RoomHead3) -> Self {
        let RoomHead2 { before, bumped } = last.before;
        Self {
            extremities: before.extremities,
            depth: before.depth,
            state: before.state,
            joined: before.joined,
            invited: before.invited,
            position: before.position,
            bumped,
            joined_here: last.joined_here,
            is_partial: false,
        }
    }
}

impl From<RoomHead2> for RoomHead {
    fn from(before: RoomHead2) -> Self {
        RoomHead3::from(before).into()
    }
}

impl From<RoomHead1> for RoomHead {
    fn from(before: RoomHead1) -> Self {
        RoomHead2::from(before).into()
    }
}

/// A room whose state is known in part only (MSC3902).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialRoomRecord {
    /// The joins by which this server came in: more than one where everybody left meanwhile.
    pub entries: Vec<EventSerial>,
    /// The commit of the first of these.
    pub position: u64,
    /// The server that let somebody in last.
    pub given_by: String,
    /// The other servers that it says are in the room. Each of them counts for one member
    /// more than is known of it, until the members are known.
    pub servers: Vec<String>,
}

/// An event that was placed while the room's state was known in part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialEventRecord {
    /// Whether it belongs to the past: the room's end does not go on from it.
    pub is_history: bool,
    /// The states after those events directly before it that were not held here, as they were
    /// given with it.
    pub given: Vec<(String, StateRoot)>,
}

/// The most users that [`UnplacedDevicesRecord`] names.
const MOST_UNPLACED: usize = 100;

/// Whose devices changed, of one server, while nobody knew whether they are in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnplacedDevicesRecord {
    /// Their ids; none if there were too many.
    users: Vec<String>,
    /// Whether it may be anybody of the server.
    is_anybody: bool,
}

impl UnplacedDevicesRecord {
    /// Notes that devices of a user changed. Returns whether that is news.
    pub fn note(&mut self, user_id: &str) -> bool {
        if self.includes(user_id) {
            return false;
        }
        if self.users.len() < MOST_UNPLACED {
            self.users.push(user_id.to_owned());
        } else {
            self.users.clear();
            self.is_anybody = true;
        }
        true
    }

    /// Whether devices of this user of the server may have changed.
    pub fn includes(&self, user_id: &str) -> bool {
        self.is_anybody || self.users.iter().any(|user| user == user_id)
    }
}

/// A user's membership of a room, as the spec's `membership` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Membership {
    /// `join`
    Join,
    /// `invite`
    Invite,
    /// `knock`
    Knock,
    /// `leave`
    Leave,
    /// `ban`
    Ban,
}

impl Membership {
    /// The membership of that name in the spec.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "join" => Self::Join,
            "invite" => Self::Invite,
            "knock" => Self::Knock,
            "leave" => Self::Leave,
            "ban" => Self::Ban,
            _ => return None,
        })
    }

    /// The spec's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

/// A user's current membership of one room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRecord {
    /// The membership itself.
    pub membership: Membership,
    /// The `m.room.member` event that says so.
    pub event: EventSerial,
    /// The commit of that event.
    pub position: u64,
    /// Who sent that event: tells a kick from a leave.
    pub sender: UserSerial,
    /// Whether the user has forgotten the room after leaving it.
    pub forgotten: bool,
    /// The commit by which the user last came in; 0 if never.
    pub last_join: u64,
    /// The commit by which the user last went out again; 0 if never, or joined now.
    pub left_at: u64,
}

/// How far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// The event that the receipt names.
    pub event: EventSerial,
    /// When it was sent, in ms since the Unix epoch.
    pub at: u64,
    /// Where its change row stands, so that the next receipt removes that one.
    pub change: (u64, u32),
    /// The named event's position in the log: everything up to it is read.
    pub read_up_to: u64,
}

/// What a user is told of a room in which nobody of this server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRecord {
    /// The invitation or knock to which it belongs. If the user's membership is another by
    /// now, the rest means nothing any more.
    pub event: EventSerial,
    /// Servers that are in the room.
    pub servers: Vec<String>,
    /// Stripped state: each event as JSON, as clients see it.
    pub state: Vec<String>,
}

/// A room alias of this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// The room that it names.
    pub room: RoomSerial,
    /// Who made it.
    pub creator: UserSerial,
}

/// What a client's transaction id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTransaction {
    /// The event that the request made.
    pub event: EventSerial,
}

/// Which request made an event: told to the device that sent it, nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentBy {
    /// The device.
    pub device: DeviceSerial,
    /// Its transaction id.
    pub transaction_id: String,
}

/// What an annotation, a reaction for instance, is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationRecord {
    /// The annotated event.
    pub target: EventSerial,
    /// Who annotated it.
    pub user: UserSerial,
    /// The annotation's event type and key.
    pub kind: String,
}

/// What a user has not read of a room, as counted up to a commit. It holds as long as
/// the user's stay and receipts are those with which it was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadRecord {
    /// The last commit that was counted.
    pub position: u64,
    /// The commit by which the user came in.
    pub joined: u64,
    /// The commit that changed the user's push rules last.
    pub rules: u64,
    /// Everything up to this commit is read, in all threads.
    pub all: u64,
    /// The main timeline is read up to this commit.
    pub main: u64,
    /// Threads are read up to these commits, in the order of their roots.
    pub threads: Vec<(EventSerial, u64)>,
    /// What is not read, of the main timeline (no root) and of threads.
    pub counts: Vec<UnreadCount>,
}

/// How much is not read of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadCount {
    /// The thread's root; none for the main timeline.
    pub thread: Option<EventSerial>,
    /// How many events notify.
    pub notifications: u64,
    /// How many of these mention the user.
    pub highlights: u64,
}

stored! {
    UnreadRecord = 1,
    AnnotationRecord = 1,
    SentBy = 1,
    RoomRecord = 1,
    RoomHead = 4 or RoomHead3 = 3 or RoomHead2 = 2 or RoomHead1 = 1,
    PartialRoomRecord = 1,
    PartialEventRecord = 1,
    UnplacedDevicesRecord = 1,
    MembershipRecord = 1,
    ReceiptRecord = 1,
    AliasRecord = 1,
    OutsideRecord = 1,
    SentTransaction = 1,
}

impl store::Value for Membership {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Join => 0,
            Self::Invite => 1,
            Self::Knock => 2,
            Self::Leave => 3,
            Self::Ban => 4,
        });
    }
    fn decode(bytes: &[u8]) -> Result<Self, store::DecodeError> {
        Ok(match bytes {
            [0] => Self::Join,
            [1] => Self::Invite,
            [2] => Self::Knock,
            [3] => Self::Leave,
            [4] => Self::Ban,
            _ => return Err(store::DecodeError("an unknown membership")),
        })
    }
}

#[cfg(test)]
mod tests {
    use store::Value;

    use super::*;

    #[test]
    fn too_many_changed_devices_are_those_of_anybody() {
        let mut record = UnplacedDevicesRecord::default();
        for number in 0..MOST_UNPLACED {
            assert!(record.note(&format!("@{number}:b.test")));
        }
        assert!(!record.note("@0:b.test"));
        assert!(record.includes("@99:b.test") && !record.includes("@x:b.test"));
        assert!(record.note("@x:b.test"));
        assert!(record.includes("@anybody:b.test") && record.users.is_empty());
        assert!(!record.note("@y:b.test"));
    }

    #[test]
    fn a_room_head_of_before_is_read() {
        let head = RoomHead {
            extremities: vec![EventSerial(7)],
            depth: 3,
            state: [9; 16],
            joined: 2,
            invited: 1,
            position: 40,
            bumped: 30,
            joined_here: 1,
            is_partial: true,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        assert_eq!(RoomHead::decode(&bytes), Ok(head.clone()));
        // What was written last is a single byte: whether it is partial.
        bytes.pop();
        bytes[0] = 3;
        let head = RoomHead {
            is_partial: false,
            ..head
        };
        assert_eq!(RoomHead::decode(&bytes), Ok(head.clone()));
        // And before it: 1.
        bytes.pop();
        bytes[0] = 2;
        let alone = RoomHead {
            joined_here: head.joined,
            ..head
        };
        assert_eq!(RoomHead::decode(&bytes), Ok(alone.clone()));
        // And before it: 30.
        bytes.pop();
        bytes[0] = 1;
        let before = RoomHead {
            bumped: alone.position,
            ..alone
        };
        assert_eq!(RoomHead::decode(&bytes), Ok(before));
        bytes[0] = 5;
        assert!(RoomHead::decode(&bytes).is_err());
    }
}
