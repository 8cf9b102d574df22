//! What a client has been told on one connection: so much that the next answer needs
//! only what is new.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{EventSerial, Membership, MembershipRecord, RoomSerial};
use store::Position;

use crate::room::MovedReceipt;

use super::{facts::UserFacts, lists::Selection, required::RequiredState};

/// The most rooms that are kept apart because they were told lately.
const MOST_LATELY: usize = 24;
/// The most members of a room that are remembered as told.
const MOST_MEMBERS: usize = 1000;

/// Everything that a client has been told, up to one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Up to which commit everything was looked at.
    pub(crate) position: Position,
    /// The newest change of what is only in memory (typing) that was looked at.
    pub(crate) ephemeral: u64,
    /// Stands for what was asked.
    pub(crate) asked: u64,
    /// What the rooms were chosen by.
    pub(crate) user: UserFacts,
    /// The rooms that the last answer was about.
    pub(crate) selection: Option<Arc<Selection>>,
    /// The rooms that were told.
    pub(crate) rooms: KnownRooms,
    /// Up to where device lists were told, once they were.
    pub(crate) device_lists: Option<Position>,
    /// Up to where the account's own data was told, once it was.
    pub(crate) account_data: Option<Position>,
    /// Rooms whose account data changed while nobody wanted it.
    pub(crate) untold_data: BTreeSet<RoomSerial>,
    /// Receipts for which the last answer had no room.
    pub(crate) untold_receipts: BTreeMap<RoomSerial, Vec<MovedReceipt>>,
    /// Up to where changes of thread subscriptions were told, once they were.
    pub(crate) subscriptions: Option<Position>,
}

/// What a client has been told of its rooms. Most of it is shared with the answer before:
/// an answer is mostly about few of many rooms.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownRooms {
    settled: Arc<HashMap<RoomSerial, Arc<KnownRoom>>>,
    /// What was told lately, in place of what is settled.
    lately: HashMap<RoomSerial, Arc<KnownRoom>>,
    /// About how many bytes all of it takes.
    bytes: usize,
}

impl KnownRooms {
    /// What was told of a room.
    pub(crate) fn get(&self, room: RoomSerial) -> Option<&Arc<KnownRoom>> {
        let lately = self.lately.get(&room);
        lately.or_else(|| self.settled.get(&room))
    }

    /// The same, to be changed. What it takes must stay about the same.
    pub(crate) fn get_mut(&mut self, room: RoomSerial) -> Option<&mut KnownRoom> {
        if !self.lately.contains_key(&room) {
            let known = self.settled.get(&room)?.clone();
            self.lately.insert(room, known);
        }
        self.lately.get_mut(&room).map(Arc::make_mut)
    }

    /// Whether anything was told of a room.
    pub(crate) fn has(&self, room: RoomSerial) -> bool {
        self.get(room).is_some()
    }

    /// Puts down what is told of a room, in place of what was told before.
    pub(crate) fn insert(&mut self, room: RoomSerial, known: KnownRoom) {
        let before = self.get(room).map_or(0, |before| before.bytes());
        self.bytes = (self.bytes + known.bytes()).saturating_sub(before);
        self.lately.insert(room, Arc::new(known));
    }

    /// To be called when an answer is finished: what was told lately stays little.
    pub(crate) fn settle(&mut self) {
        if self.lately.len() > MOST_LATELY {
            let lately = std::mem::take(&mut self.lately);
            Arc::make_mut(&mut self.settled).extend(lately);
        }
    }
}

/// What a client has been told of one room.
#[derive(Clone, Debug)]
pub(crate) struct KnownRoom {
    /// Up to which commit. Nothing of the room is missing up to there but what the
    /// client did not want.
    pub(crate) told: Position,
    /// What the user was there, and the event that said so.
    pub(crate) membership: Membership,
    pub(crate) member_event: EventSerial,
    /// How many of the newest events the client has without a gap.
    pub(crate) contiguous: usize,
    /// Which state it has.
    pub(crate) required: Arc<RequiredState>,
    /// The membership events that it has because somebody spoke.
    pub(crate) members: Arc<BTreeSet<EventSerial>>,
    pub(crate) summary: Summary,
    pub(crate) is_direct: bool,
    /// Up to where account data and receipts were told, once they were.
    pub(crate) account_data: Option<Position>,
    pub(crate) receipts: Option<Position>,
    /// The change of who types that was told last; `None` if nobody was ever shown, 0 if
    /// somebody was before the room began anew.
    pub(crate) typing: Option<u64>,
}

/// The fields of a room that are told when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) name: Option<String>,
    pub(crate) avatar: Option<String>,
    /// JSON.
    pub(crate) heroes: String,
    pub(crate) joined: u64,
    pub(crate) invited: u64,
    pub(crate) bump_stamp: u64,
    pub(crate) notifications: u64,
    pub(crate) highlights: u64,
}

impl Known {
    /// Whether the client has not yet been told that the user is out of a room which it
    /// shows.
    pub(crate) fn awaits_leave(&self, room: RoomSerial, record: &MembershipRecord) -> bool {
        let is_out = matches!(record.membership, Membership::Leave | Membership::Ban);
        is_out
            && self
                .rooms
                .get(room)
                .is_some_and(|known| known.member_event != record.event && known.is_present())
    }

    /// About how many bytes this takes.
    pub(crate) fn bytes(&self) -> usize {
        let facts = self.user.memberships.len() * size_of::<MembershipRecord>();
        let selection = self.selection.as_ref().map_or(0, |one| one.bytes());
        size_of::<Self>() + facts + selection + self.rooms.bytes
    }
}

impl KnownRoom {
    /// Whether the client shows the room as one that the user is in or may come into.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self.membership, Membership::Leave | Membership::Ban)
    }

    /// Remembers membership events as told. Of too many, only the newest are: the others
    /// are told again when they are needed.
    pub(crate) fn add_members(&mut self, events: BTreeSet<EventSerial>) {
        if events.is_empty() || events.is_subset(&self.members) {
            return;
        }
        let members = Arc::make_mut(&mut self.members);
        members.extend(events);
        while members.len() > MOST_MEMBERS {
            members.pop_first();
        }
    }

    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        2 * size_of::<usize>()
            + size_of::<Self>()
            + 2 * self.members.len() * size_of::<EventSerial>()
            + text(&self.summary.name)
            + text(&self.summary.avatar)
            + self.summary.heroes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> KnownRoom {
        KnownRoom {
            told: Position(1),
            membership: Membership::Join,
            member_event: EventSerial(1),
            contiguous: 1,
            required: Arc::default(),
            members: Arc::default(),
            summary: Summary::default(),
            is_direct: false,
            account_data: None,
            receipts: None,
            typing: None,
        }
    }

    #[test]
    fn members_are_bounded() {
        let mut room = room();
        room.add_members((0..3000).map(EventSerial).collect());
        assert_eq!(room.members.len(), MOST_MEMBERS);
        assert!(room.members.contains(&EventSerial(2999)));
        assert!(room.bytes() >= MOST_MEMBERS * 8);
    }

    #[test]
    fn what_was_told_is_found_and_counted() {
        let mut rooms = KnownRooms::default();
        for round in 0..3_u64 {
            for number in 0..60_u64 {
                if number % (round + 1) == 0 {
                    let mut told = room();
                    told.told = Position(round);
                    told.summary.heroes = "x".repeat(usize::try_from(number).unwrap());
                    rooms.insert(RoomSerial(number), told);
                }
                if number % 7 == 0 {
                    rooms.settle();
                }
            }
            rooms.settle();
            assert!(rooms.lately.len() <= MOST_LATELY);
        }
        let earlier = rooms.clone();
        rooms.get_mut(RoomSerial(5)).unwrap().typing = Some(9);
        assert_eq!(earlier.get(RoomSerial(5)).unwrap().typing, None);
        assert!(rooms.has(RoomSerial(59)) && !rooms.has(RoomSerial(60)));
        assert!(rooms.get_mut(RoomSerial(60)).is_none());
        let mut bytes = 0;
        for number in 0..60_u64 {
            let told = rooms.get(RoomSerial(number)).unwrap();
            let newest = (0..3).rev().find(|round| number % (round + 1) == 0);
            assert_eq!(told.told, Position(newest.unwrap()));
            bytes += told.bytes();
        }
        assert_eq!(rooms.bytes, bytes);
    }

    #[test]
    fn a_leave_is_awaited_until_it_is_told() {
        let mut known = Known::default();
        let mut record = MembershipRecord {
            membership: Membership::Join,
            event: EventSerial(1),
            position: 1,
            sender: model::UserSerial(1),
            forgotten: false,
            last_join: 1,
            left_at: 0,
        };
        known.rooms.insert(RoomSerial(1), room());
        assert!(!known.awaits_leave(RoomSerial(1), &record));
        record.membership = Membership::Leave;
        record.event = EventSerial(2);
        assert!(known.awaits_leave(RoomSerial(1), &record));
        assert!(!known.awaits_leave(RoomSerial(2), &record));
        let mut told = room();
        told.membership = Membership::Leave;
        told.member_event = EventSerial(2);
        known.rooms.insert(RoomSerial(1), told);
        assert!(!known.awaits_leave(RoomSerial(1), &record));
    }
}
