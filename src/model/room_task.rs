//! Records of what is done with rooms in the background, and of what administrators say of rooms.

use serde::{Deserialize, Serialize};

use crate::{EventSerial, RoomSerial, UserSerial, record::stored};

/// Something that an administrator has begun with a room and that takes long. Each step of it is
/// one commit with this record in it: after a crash it goes on where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTaskRecord {
    /// The administrator who began it; the command line if `None`.
    pub by: Option<String>,
    /// When, in ms since the Unix epoch.
    pub started_at: u64,
    /// What it is.
    pub work: RoomWork,
    /// How it stands.
    pub state: RoomTaskState,
    /// How many rows or events are done with.
    pub done: u64,
    /// How many there are about in all.
    pub expected: u64,
    /// When it ended, in ms since the Unix epoch; 0 before.
    pub finished_at: u64,
}

/// How something that takes long stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomTaskState {
    /// Others come first.
    Waiting,
    /// It is under way.
    Active,
    /// It is done.
    Done,
    /// It was given up, for this reason.
    Failed(String),
}

/// What is done with a room in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomWork {
    /// Everybody of this server goes out, and then everything of the room is removed, if that is
    /// wanted.
    Removal(RoomRemoval),
    /// What was said before some event is removed.
    Shrinking(RoomShrinking),
    /// What somebody has said is redacted.
    Redaction(RoomRedaction),
}

/// How a room is removed, and what has come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRemoval {
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// Whether everything of the room is removed when nobody of this server is in it any more.
    pub purges: bool,
    /// Why, as those who go out are told.
    pub reason: Option<String>,
    /// How far it is.
    pub stage: RemovalStage,
    /// Who went out.
    pub put_out: Vec<String>,
    /// Who could not.
    pub not_put_out: Vec<String>,
    /// The aliases of this server that the room had.
    pub aliases: Vec<String>,
    /// The room into which those who go out are brought, and who brings them there.
    pub new_room: Option<(String, String)>,
}

/// How far the removal of a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemovalStage {
    /// Those of this server go out: the next is this one or the one behind.
    Leaving(UserSerial),
    /// Other servers are being told, until this time at the latest, in ms since the Unix epoch.
    Telling(u64),
    /// The room is seen by nobody any more; its events are removed, from this one on.
    Events(EventSerial),
    /// What is kept of it for each user is removed, from this one on.
    Users(UserSerial),
}

/// How a room's history is shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomShrinking {
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// Up to which place: depth, and what orders events of equal depth. That one stays.
    pub before: (u64, u64),
    /// Where it goes on.
    pub next: (u64, u64),
    /// Whether what people of this server have said is removed too.
    pub with_local: bool,
}

/// How what somebody has said is redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRedaction {
    /// Whose events.
    pub user_id: String,
    /// The same by serial.
    pub user: UserSerial,
    /// The rooms, the next one last.
    pub rooms: Vec<RoomSerial>,
    /// Below which place of the next room it goes on; none for its end.
    pub below: Option<(u64, u64)>,
    /// How many events of the next room were looked at that are theirs.
    pub seen: u64,
    /// How many of their events are looked at in each room.
    pub limit: u64,
    /// In whose name, instead of theirs.
    pub by: Option<String>,
    /// Why, as the redactions say.
    pub reason: Option<String>,
    /// Only events of this time or later, in ms since the Unix epoch.
    pub after: u64,
    /// Only events of this time or earlier.
    pub before: u64,
    /// The events that could not be redacted, with why; not all if there are many.
    pub failed: Vec<(String, String)>,
}

/// A room that is not there any more, of which the register and the audit trail still tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedRoomRecord {
    /// When it was removed, in ms since the Unix epoch.
    pub at: u64,
}

/// A room that an administrator has closed: nobody of this server comes in or says anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRoomRecord {
    /// The administrator who closed it; the command line if `None`.
    pub by: Option<String>,
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// Why.
    pub reason: Option<String>,
}

/// A room whose ban list this server heeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanListRecord {
    /// The administrator who named it; the command line if `None`.
    pub by: Option<String>,
    /// When, in ms since the Unix epoch.
    pub at: u64,
}

stored! {
    RoomTaskRecord = 1,
    PurgedRoomRecord = 1,
    ClosedRoomRecord = 1,
    BanListRecord = 1,
}
