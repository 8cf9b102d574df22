//! The newest commits of rooms that are followed, kept in memory: what many wait for is
//! read from the database and put into its form once.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use model::{EventChange, RoomChange, RoomSerial, UserSerial, room_scope, tables};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    ClientEvent, ReadError, Rooms, Viewer,
    client_event::load_events,
    form::{DELAY_ID, STICKY_LEFT, quoted, shared_part, sticky_until},
    room_record,
};

/// The most commits that are kept of one room, and that one look may cost.
const MAX_COMMITS: usize = 64;
/// The most bytes that are kept of all rooms together.
const MAX_BYTES: usize = 8 << 20;
/// The most rooms of which something is kept.
const MAX_ROOMS: usize = 10_000;
/// What a commit takes beside its events, in bytes, about.
const COMMIT_BYTES: usize = 256;

/// A receipt that moved: whose, of which kind, of which thread.
pub type MovedReceipt = (UserSerial, String, String);

/// What happened in a room after some position.
pub struct RoomNews {
    /// The room's id.
    pub room_id: Arc<str>,
    /// Its commits, oldest first.
    pub commits: Vec<Arc<RoomCommit>>,
}

impl RoomNews {
    /// The events, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &NewsEvent> {
        self.commits.iter().flat_map(|commit| &commit.events)
    }

    /// The receipts that moved; some may have moved on since.
    pub fn receipts(&self) -> impl Iterator<Item = &MovedReceipt> {
        self.commits.iter().flat_map(|commit| &commit.receipts)
    }
}

/// What one commit says about one room: the same for all who look.
pub struct RoomCommit {
    /// The commit.
    pub position: Position,
    /// Its events, in their order.
    pub events: Vec<NewsEvent>,
    /// The receipts that it moved.
    pub receipts: Vec<MovedReceipt>,
    /// The members whose devices or keys it changed.
    pub devices: Vec<UserSerial>,
    /// Whether it concerns forks of the room's graph, so that the room's state is not what
    /// the events alone say.
    pub forked: bool,
    /// Whether events are missing before its first.
    pub has_gap: bool,
}

impl RoomCommit {
    fn at(position: Position) -> Self {
        Self {
            position,
            events: Vec::new(),
            receipts: Vec::new(),
            devices: Vec::new(),
            forked: false,
            has_gap: false,
        }
    }

    fn bytes(&self) -> usize {
        let events = self.events.iter();
        COMMIT_BYTES
            + events
                .map(|event| event.shared.len() + event.event.stored.json.len())
                .sum::<usize>()
    }
}

/// A new event with what all who see it are told of it.
pub struct NewsEvent {
    /// Its change row.
    pub change: EventChange,
    /// The event.
    pub event: ClientEvent,
    /// Its type.
    pub event_type: String,
    /// Whether it is a state event.
    pub is_state: bool,
    sent_at: u64,
    /// When it ends to be sticky, in ms since the Unix epoch; 0 for most.
    pub sticky_until: u64,
    /// The form for clients up to `unsigned`, without a room id.
    shared: String,
}

impl NewsEvent {
    fn new(
        change: EventChange,
        event: ClientEvent,
        version: graph::Version,
    ) -> Result<Self, ReadError> {
        let fields = event.stored.fields()?;
        let sent_at: u64 = fields.origin_server_ts.parse().unwrap_or_default();
        Ok(Self {
            event_type: fields.type_name().into_owned(),
            is_state: fields.state_key.is_some(),
            sticky_until: fields
                .sticky
                .and_then(|sticky| sticky_until(sticky, sent_at))
                .unwrap_or_default(),
            sent_at,
            shared: shared_part(&fields, &event.stored.event_id, version, None),
            change,
            event,
        })
    }

    /// The event as JSON for a member who was in the room when it came, without a room
    /// id: what [`crate::EventReader::json`] gives of an event that is no state and is
    /// not redacted. `now` is in ms since the Unix epoch.
    ///
    /// # Errors
    /// If the database fails.
    pub fn json(&self, view: &impl Read, viewer: Viewer, now: u64) -> Result<String, StoreError> {
        let mut out = String::with_capacity(self.shared.len() + 160);
        out.push_str(&self.shared);
        out.push_str(",\"unsigned\":{\"age\":");
        out.push_str(&now.saturating_sub(self.sent_at).to_string());
        // Only one's own events have transaction ids to be told of.
        if self.change.sender == viewer.user
            && let Some(device) = viewer.device
            && let Some(sent) = view.get(&tables::TRANSACTION_BY_EVENT, &self.event.serial)?
            && sent.device == device
        {
            out.push_str(",\"transaction_id\":");
            out.push_str(&quoted(&sent.transaction_id));
        }
        let mut field = |name: &str, value: &str| {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            out.push_str(value);
        };
        if self.change.sender == viewer.user
            && let Some(delay_id) = view.get(&tables::DELAY_ID_BY_EVENT, &self.event.serial)?
        {
            field(DELAY_ID, &quoted(&delay_id));
        }
        if self.sticky_until > now {
            field(STICKY_LEFT, &(self.sticky_until - now).to_string());
        }
        out.push_str(",\"membership\":\"join\"}}");
        Ok(out)
    }
}

/// What is kept of one room: all commits after `from` and up to `to`.
struct Kept {
    from: Position,
    to: Position,
    commits: VecDeque<Arc<RoomCommit>>,
    room_id: Arc<str>,
}

/// What is kept of one room, if anything; held by whoever reads more.
type Slot = Arc<Mutex<Option<Kept>>>;

#[derive(Default)]
pub(crate) struct NewsCache {
    rooms: Mutex<HashMap<RoomSerial, Slot>>,
    bytes: Mutex<usize>,
}

impl NewsCache {
    fn of(&self, room: RoomSerial) -> Slot {
        let mut rooms = self.rooms.lock();
        if rooms.len() >= MAX_ROOMS && !rooms.contains_key(&room) {
            rooms.clear();
        }
        rooms.entry(room).or_default().clone()
    }

    /// Forgets what is kept of a room.
    pub(crate) fn forget(&self, room: RoomSerial) {
        self.rooms.lock().remove(&room);
    }

    /// Counts what was added; forgets everything when it is too much.
    fn grew(&self, bytes: usize) {
        let mut total = self.bytes.lock();
        *total += bytes;
        if *total > MAX_BYTES {
            *total = 0;
            drop(total);
            self.rooms.lock().clear();
        }
    }
}

impl Rooms {
    /// What happened in `room` after `since` and up to the snapshot; `None` if that is
    /// more than is kept in memory. Checks nothing: for those who are members.
    ///
    /// # Errors
    /// If the database fails or an event is damaged.
    pub fn news(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        since: Position,
    ) -> Result<Option<RoomNews>, ReadError> {
        let slot = self.inner.news.of(room);
        let mut slot = slot.lock();
        let known = slot
            .as_mut()
            .filter(|kept| (kept.from..=kept.to).contains(&since));
        let kept = match known {
            Some(kept) => {
                if !self.read_on(view, room, kept)? {
                    *slot = None;
                    return Ok(None);
                }
                kept
            }
            None => {
                let Some(commits) = read(view, room, since)? else {
                    return Ok(None);
                };
                let mut kept = Kept {
                    from: since,
                    to: view.position(),
                    commits: VecDeque::new(),
                    room_id: room_record(view, room)?.0.room_id.into(),
                };
                self.keep(&mut kept, commits);
                slot.insert(kept)
            }
        };
        if since < kept.from {
            return Ok(None);
        }
        let wanted = since.0 + 1..=view.position().0;
        let commits = kept.commits.iter();
        Ok(Some(RoomNews {
            room_id: kept.room_id.clone(),
            commits: commits
                .filter(|commit| wanted.contains(&commit.position.0))
                .cloned()
                .collect(),
        }))
    }

    /// Reads on to the snapshot; returns whether that was little enough to be kept.
    fn read_on(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        kept: &mut Kept,
    ) -> Result<bool, ReadError> {
        if view.position() <= kept.to {
            return Ok(true);
        }
        if self.inner.store.changed_since(room_scope(room), kept.to) {
            match read(view, room, kept.to)? {
                Some(commits) => self.keep(kept, commits),
                None => return Ok(false),
            }
        }
        kept.to = view.position();
        Ok(true)
    }

    fn keep(&self, kept: &mut Kept, commits: Vec<RoomCommit>) {
        self.inner
            .news
            .grew(commits.iter().map(RoomCommit::bytes).sum());
        kept.commits.extend(commits.into_iter().map(Arc::new));
        while kept.commits.len() > MAX_COMMITS
            && let Some(oldest) = kept.commits.pop_front()
        {
            kept.from = oldest.position;
        }
    }
}

/// The room's commits after `since`, if they are not too many.
fn read(
    view: &Snapshot,
    room: RoomSerial,
    since: Position,
) -> Result<Option<Vec<RoomCommit>>, ReadError> {
    let mut changes = Vec::new();
    let from = (room, Position(since.0 + 1), 0);
    for row in view.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &from) {
        let ((_, position, _), change) = row?;
        if changes.len() == MAX_COMMITS {
            return Ok(None);
        }
        changes.push((position, change));
    }
    let serials: Vec<_> = changes
        .iter()
        .filter_map(|(_, change)| match change {
            RoomChange::Event(change) => Some(change.event),
            RoomChange::Receipt { .. } | RoomChange::State { .. } | RoomChange::Gap => None,
        })
        .collect();
    let mut events: HashMap<_, _> = load_events(view, room, &serials)?
        .into_iter()
        .map(|event| (event.serial, event))
        .collect();
    let (_, version) = room_record(view, room)?;
    let mut commits: BTreeMap<Position, RoomCommit> = BTreeMap::new();
    let at = |position: Position| move || RoomCommit::at(position);
    for (position, change) in changes {
        let commit = commits.entry(position).or_insert_with(at(position));
        match change {
            RoomChange::Event(change) => {
                if let Some(event) = events.remove(&change.event) {
                    commit.events.push(NewsEvent::new(change, event, version)?);
                }
            }
            RoomChange::Receipt { user, kind, thread } => {
                commit.receipts.push((user, kind, thread));
            }
            RoomChange::State { .. } => commit.forked = true,
            RoomChange::Gap => commit.has_gap = true,
        }
    }
    let from = (room, Position(since.0 + 1), UserSerial(0));
    for (count, row) in view
        .scan_from(&tables::DEVICE_CHANGE_BY_ROOM, &(room,), &from)
        .enumerate()
    {
        let ((_, position, user), ()) = row?;
        if count == MAX_COMMITS {
            return Ok(None);
        }
        let commit = commits.entry(position).or_insert_with(at(position));
        commit.devices.push(user);
    }
    Ok(Some(commits.into_values().collect()))
}
