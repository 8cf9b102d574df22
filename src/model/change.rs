//! Changes: what a commit tells those who follow a room, a user or a device, and
//! those who follow everything.

use serde::{Deserialize, Serialize};
use store::{Batch, Position, Scope};

use crate::{
    DeviceSerial, EventSerial, Membership, RoomSerial, StateRoot, UserSerial,
    record::stored,
    tables::{CHANGE_BY_ROOM, CHANGE_BY_USER, DEVICE_CHANGE_BY_ROOM},
};

/// The scope of everything that concerns one user on all devices.
pub fn user_scope(user: UserSerial) -> Scope {
    Scope {
        kind: 1,
        serial: user.0,
    }
}

/// The scope of what concerns one device alone.
pub fn device_scope(device: DeviceSerial) -> Scope {
    Scope {
        kind: 2,
        serial: device.0,
    }
}

/// The scope of what happens in one room.
pub fn room_scope(room: RoomSerial) -> Scope {
    Scope {
        kind: 3,
        serial: room.0,
    }
}

/// The room that a scope is of, if it is that of what happens in one.
pub fn room_of_scope(scope: Scope) -> Option<RoomSerial> {
    let room = RoomSerial(scope.serial);
    (scope == room_scope(room)).then_some(room)
}

/// The scope of what becomes of a room's events after they are shown: that they are
/// redacted, or stand otherwise than was thought. Nobody waits for it; what is remembered
/// of events rests on it.
pub fn rewriting_scope(room: RoomSerial) -> Scope {
    Scope {
        kind: 6,
        serial: room.0,
    }
}

/// The scope of which rooms stand in the public directory.
pub fn publication_scope() -> Scope {
    Scope { kind: 5, serial: 0 }
}

/// The scope of how many people are in rooms, all rooms together.
pub fn occupancy_scope() -> Scope {
    Scope { kind: 5, serial: 1 }
}

/// The scope of who has pushers.
pub fn pushers_scope() -> Scope {
    Scope { kind: 5, serial: 2 }
}

/// The scope of whether this server has anything to do with others: woken when one is met
/// in a room, and when something waits for one.
pub fn neighbours_scope() -> Scope {
    Scope { kind: 5, serial: 3 }
}

/// The scope of which ban lists are heeded.
pub fn ban_lists_scope() -> Scope {
    Scope { kind: 5, serial: 4 }
}

/// The scope of a file that is waited for. Files with the same beginning of their
/// media ids share it, which only wakes somebody in vain.
pub fn media_scope(media_id: &str) -> Scope {
    let mut beginning = [0; 8];
    for (to, from) in beginning.iter_mut().zip(media_id.bytes()) {
        *to = from;
    }
    Scope {
        kind: 4,
        serial: u64::from_be_bytes(beginning),
    }
}

/// An event as it stands in its room's changes: with all that unread counts need,
/// so that counting never opens an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventChange {
    /// The event.
    pub event: EventSerial,
    /// Who sent it.
    pub sender: UserSerial,
    /// Whether it counts as unread by the spec's default push rules.
    pub counts: bool,
    /// The root of the thread that it belongs to.
    pub thread: Option<EventSerial>,
    /// Whether it mentions the whole room, with the power to.
    pub mentions_room: bool,
    /// The local users that it mentions.
    pub mentions: Vec<UserSerial>,
}

/// Something that changed in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomChange {
    /// A new event.
    Event(EventChange),
    /// A receipt moved. `kind` is the spec's receipt type; `thread` its thread id,
    /// empty for an unthreaded receipt.
    Receipt {
        /// Whose.
        user: UserSerial,
        /// `m.read` or `m.read.private`.
        kind: String,
        /// The thread id.
        thread: String,
    },
    /// The room's current state, where it is not what the events beside say: directly
    /// before an event of a fork that came later than what it does not know, and
    /// directly after one by which forks met.
    State {
        /// Its root.
        root: StateRoot,
    },
    /// Events are missing here, or were when the next event of this commit came: whoever
    /// follows the room sees a gap, however it is filled later.
    Gap,
}

/// Something that changed for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserChange {
    /// The user's own membership of a room changed.
    Membership {
        /// Which room.
        room: RoomSerial,
        /// To what.
        membership: Membership,
    },
    /// Account data changed, of a room or of the account.
    AccountData {
        /// The room, or `None` for the account's own.
        room: Option<RoomSerial>,
        /// The event type.
        event_type: String,
    },
    /// The user's own devices or keys changed.
    DeviceList,
    /// The user forgot a room.
    Forgotten {
        /// Which room.
        room: RoomSerial,
    },
    /// A private receipt of the user moved: nobody else need look at the room.
    PrivateReceipt {
        /// In which room.
        room: RoomSerial,
    },
}

/// What the log's consumers read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogEntry {
    /// An event entered a room.
    Event {
        /// The room.
        room: RoomSerial,
        /// The event.
        event: EventSerial,
    },
    /// A public receipt moved.
    Receipt {
        /// The room.
        room: RoomSerial,
        /// Whose.
        user: UserSerial,
    },
    /// A local user's devices or keys changed.
    DeviceList {
        /// Whose.
        user: UserSerial,
    },
    /// A to-device message was queued for a local device.
    ToDevice {
        /// The device.
        device: DeviceSerial,
    },
    /// Account data changed.
    AccountData {
        /// Whose.
        user: UserSerial,
    },
    /// An account was made, changed or deactivated.
    Account {
        /// Which.
        user: UserSerial,
    },
    /// A private receipt moved: nobody else may learn of it.
    PrivateReceipt {
        /// The room.
        room: RoomSerial,
        /// Whose.
        user: UserSerial,
    },
    /// A local user's pushers changed.
    Pushers {
        /// Whose.
        user: UserSerial,
    },
    /// A local user came into a room with the help of another server, which tells the
    /// others itself: the event is news for everybody here, and for no other server.
    Entered {
        /// The room.
        room: RoomSerial,
        /// The user's membership.
        event: EventSerial,
    },
    /// Something that is no event was queued for another server.
    ToServer {
        /// The server's name.
        server: String,
    },
    /// A to-device message was queued for a device of a user of an application service that
    /// is told of that.
    ToServiceDevice {
        /// Whose.
        user: UserSerial,
        /// The device.
        device: DeviceSerial,
    },
    /// Keys were given out of a device of a user of an application service that is told of
    /// that.
    ServiceKeys {
        /// Whose.
        user: UserSerial,
        /// The device.
        device: DeviceSerial,
    },
    /// The devices or keys of another server's user changed.
    RemoteDeviceList {
        /// Whose.
        user: UserSerial,
    },
    /// The state of a room is known wholly that was known in part.
    Completed {
        /// The room.
        room: RoomSerial,
        /// The commit by which somebody of this server came in.
        since: u64,
        /// Servers that have been in the room since then, which was not known before.
        found: Vec<String>,
    },
    /// An event that decides who is in a room, or who may do what there: a creation, a
    /// membership, power levels. Stands beside the event's own entry.
    Governed {
        /// The room.
        room: RoomSerial,
        /// The event.
        event: EventSerial,
    },
}

impl LogEntry {
    /// Appends the entry to the log.
    pub fn write(&self, batch: &mut Batch) {
        let mut bytes = Vec::with_capacity(24);
        store::Value::encode(self, &mut bytes);
        batch.log(bytes);
        if matches!(self, Self::ToServer { .. }) {
            batch.wake(neighbours_scope());
        }
    }
}

stored! { RoomChange = 1, UserChange = 1, LogEntry = 1 }

/// Writes the change rows of one commit. One for each batch: rows of a commit are
/// told apart by their number within it.
pub struct Changes {
    position: Position,
    next: u32,
}

impl Changes {
    /// The writer of changes for the commit at `position`.
    pub fn at(position: Position) -> Self {
        Self { position, next: 0 }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Records a change of a room and wakes those who watch it. Returns where its
    /// row stands.
    pub fn room(&mut self, batch: &mut Batch, room: RoomSerial, change: &RoomChange) -> (u64, u32) {
        let number = self.number();
        batch.put(&CHANGE_BY_ROOM, &(room, self.position, number), change);
        batch.wake(room_scope(room));
        (self.position.0, number)
    }

    /// Records the move of a private receipt among the changes of its room, where
    /// nobody is woken but its user. Returns where its row stands; the user's row has
    /// the next number, see [`Self::delete_private_receipt`].
    pub fn private_receipt(
        &mut self,
        batch: &mut Batch,
        room: RoomSerial,
        user: UserSerial,
        change: &RoomChange,
    ) -> (u64, u32) {
        let number = self.number();
        batch.put(&CHANGE_BY_ROOM, &(room, self.position, number), change);
        self.user(batch, user, &UserChange::PrivateReceipt { room });
        (self.position.0, number)
    }

    /// Removes both rows of a private receipt that another supersedes.
    pub fn delete_private_receipt(
        batch: &mut Batch,
        room: RoomSerial,
        user: UserSerial,
        (position, number): (u64, u32),
    ) {
        let position = Position(position);
        batch.delete(&CHANGE_BY_ROOM, &(room, position, number));
        batch.delete(&CHANGE_BY_USER, &(user, position, number + 1));
    }

    /// Records a change for a user and wakes the user's devices. Returns where its
    /// row stands.
    pub fn user(&mut self, batch: &mut Batch, user: UserSerial, change: &UserChange) -> (u64, u32) {
        let number = self.number();
        batch.put(&CHANGE_BY_USER, &(user, self.position, number), change);
        batch.wake(user_scope(user));
        (self.position.0, number)
    }

    /// Records for one room that `user`'s devices changed, in place of the row of
    /// `earlier`, the user's change before.
    pub fn device_list(
        &mut self,
        batch: &mut Batch,
        room: RoomSerial,
        user: UserSerial,
        earlier: Option<Position>,
    ) {
        if let Some(earlier) = earlier {
            batch.delete(&DEVICE_CHANGE_BY_ROOM, &(room, earlier, user));
        }
        batch.put(&DEVICE_CHANGE_BY_ROOM, &(room, self.position, user), &());
        batch.wake(room_scope(room));
    }

    /// Appends an entry to the log.
    pub fn log(&mut self, batch: &mut Batch, entry: &LogEntry) {
        entry.write(batch);
    }
}
