//! Rooms: the only writer of events, and all that is read of them.
//!
//! Place: the domain floor, above `graph`, `model`, `store` and `accounts`.
//!
//! Every event enters a room through `append`: while nobody else writes to the room the
//! new events are built on the head as last written, authorised, and written as one
//! commit; the next writer comes before the disk is waited for. Whoever reads goes through
//! `visibility`: who may see what is decided here, beside the data, and no door can
//! read past it.
//!
//! Never here: HTTP, a lock held over a disk sync or the network, a second way to
//! write an event.

mod acquaintances;
mod administered;
mod aliases;
mod append;
mod arrivals;
mod at_time;
mod background;
mod ban_lists;
mod client_event;
mod completing;
mod create;
mod delayed;
mod department_rooms;
mod digest;
mod directory_order;
mod error;
mod event;
mod event_cache;
mod file_references;
mod filter;
mod forks;
mod form;
mod freezing;
mod gaps;
mod guests;
mod handshake;
mod hierarchy;
mod identities;
mod ignored;
mod import;
mod known;
mod listing;
mod lists;
mod lists_backfill;
mod looked_into;
mod marking;
mod members;
mod membership;
mod mutual;
mod neighbours;
mod networks;
mod news;
mod notices;
mod notifications;
mod notify;
mod options;
mod outliers;
mod outside;
mod overview;
mod partial;
mod partners;
mod place;
mod placing;
mod plain;
mod policy;
mod power_levels;
mod presence;
mod profile;
mod public_rooms;
mod queue;
mod receipts;
mod receive;
mod recounts;
mod register;
mod relations;
mod remote_users;
mod reports;
mod residents;
mod restricted;
mod rows;
mod rules;
mod send;
mod served;
mod served_spaces;
mod server_acl;
mod servers;
mod space_links;
mod staging;
mod standing;
mod state;
mod state_map;
mod stays;
mod sticky;
mod succession;
mod summary;
mod thread_subscriptions;
mod timeline;
mod told_receipts;
mod transactions;
mod typing;
mod unplaced_devices;
mod unread;
mod upgrade;
mod visibility;
mod volume;

pub use acquaintances::{Acquaintances, room_content, room_text};
pub use aliases::{aliases, is_published, resolve_alias};
pub use append::{Appended, NewEvent, Sender};
pub use at_time::EventAtTime;
pub use background::{
    Boundary, RoomTask, WantedRedaction, WantedRemoval, WantedShrinking, is_purged, room_task,
    room_tasks,
};
pub use ban_lists::{BanList, BanLists, BanRule, Subject, ban_lists};
pub use client_event::{ClientEvent, EventBody, load_events};
pub use completing::Completion;
pub use create::{CreateRoom, Preset};
pub use delayed::{
    DelayAction, DelayError, DelayedEvent, NewDelayedEvent, delayed_event, delayed_events,
};
pub use error::{AppendError, ReadError};
pub use event::{EventReader, Viewer};
pub use filter::{EventFilter, RelationFilter};
pub use freezing::{FROZEN, is_frozen};
pub use gaps::{Gap, gaps_below};
pub use handshake::{Invitation, Threshold};
pub use hierarchy::{HierarchyPage, HierarchyRequest, OtherRoom, OtherRooms};
pub use ignored::Ignored;
pub use import::ImportedRoom;
pub use listing::{
    ListedMember, ListedRoom, RoomCalled, members_after, room_called, rooms_after, servers_after,
};
pub use lists::count_rooms;
pub use looked_into::{Extremity, extremities_of, space_of};
pub use marking::{MARKING, WantedMarking, marking_of};
pub use members::MembershipFilter;
pub use membership::joined_rooms;
pub use mutual::{MutualRooms, mutual_rooms};
pub use neighbours::{Neighbour, visit_neighbours};
pub use news::{MovedReceipt, NewsEvent, RoomCommit, RoomNews};
pub use notices::{Notice, SentNotice};
pub use notifications::{Notification, NotificationToken, Notifications};
pub use notify::{PushSubject, member_name};
pub use options::{Encryption, MadeBy, Marking, RoomKind, RoomRule, RoomsOptions};
pub use outside::{KnownOutside, Outside, outside_record};
pub use overview::{
    RoomOverview, RoomsOrder, RoomsPage, RoomsQuery, blocked, joined_of_room, most_powerful_here,
    room_overview, rooms_page, servers_met, state_of_room,
};
pub use partial::{MembersOmitted, PartialRoom, is_partial};
pub use partners::{is_open_to_partners, may_see_directory, rooms_open_to_partners};
pub use place::PlaceToken;
pub use policy::{POLICY_KEY, PolicyError, PolicyServer, PolicyServers, Signing};
pub use presence::{Present, RemotePresence, ShownPresence};
pub use public_rooms::{Networks, PublicRoom, PublicRoomsPage, PublicRoomsRequest};
pub use receipts::{ReadMarkers, ReceiptKind, RemoteReceipt};
pub use receive::{Arrival, Incoming};
pub use register::{
    MemberThen, PersonStay, RegisterError, RegisterPart, RoomThen, register_of_person,
    register_of_room,
};
pub use relations::{RelationsPage, RelationsRequest, ThreadsPage, ThreadsRequest, newest_edit};
pub use reports::reports;
pub use residents::servers_to_join_by;
pub use rules::closed;
pub use served::{JoinAnswer, ServedRoom, ServedState};
pub use served_spaces::ServedHierarchy;
pub use server_acl::{ServerAcl, acl_allows};
pub(crate) use servers::relay;
pub use servers::{
    federates, is_server_in, rooms_shared_with, servers_in, servers_met_by, servers_met_by_joining,
};
pub use space_links::SpaceLink;
pub use state::{StateAt, StateFormat, leaving, stripped_state};
pub use state_map::{EMPTY as EMPTY_STATE, StateMaps};
pub use stays::Stays;
pub use sticky::sticky_since;
pub use succession::{RoomRunAlone, rooms_run_alone};
pub use thread_subscriptions::{
    SubscriptionError, SubscriptionsPage, ThreadSubscription, changed_subscriptions, follows_thread,
};
pub use timeline::{Context, ContextRequest, Page, PageRequest};
pub use told_receipts::{
    PublicReceipt, ReceiptViewer, ToldReceipts, public_receipts_since, receipts, receipts_at,
    receipts_moved, receipts_of,
};
pub use unread::{Counts, Unread};
pub use upgrade::predecessor;
pub use visibility::{Access, Visibility};
pub use volume::{Volume, room_sizes, volume};

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use graph::{SigningKey, Version};
use model::{RoomRecord, RoomSerial, UserSerial, tables};
use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId};
use runtime::{Clock, Random};
use store::{Read, Store, StoreError};

/// Room ids whose serials are kept in memory.
const KEPT_IDS: usize = 4096;

/// The rooms of this server. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    random: Random,
    server_name: OwnedServerName,
    key: Arc<SigningKey>,
    options: RoomsOptions,
    queues: queue::RoomQueues,
    typing: typing::Typing,
    presences: presence::Presences,
    /// Told when a delayed event comes or changes its time.
    delayed: tokio::sync::Notify,
    /// Told when an administrator begins something that takes long.
    tasks: tokio::sync::Notify,
    unread: unread::UnreadCache,
    stays: stays::StaysCache,
    news: news::NewsCache,
    events: event_cache::EventCache,
    identities: identities::Identities,
    directory: directory_order::DirectoryOrder,
    ban_lists: BanLists,
    ignored: ignored::IgnoredCache,
    /// The transaction ids of events below this serial are forgotten already.
    forgotten: AtomicU64,
    rules: notify::RulesCache,
    policy_servers: OnceLock<Arc<dyn PolicyServers>>,
    /// Serials by room id; neither ever changes.
    serials: Mutex<HashMap<OwnedRoomId, RoomSerial>>,
    /// The time of the newest room made here, in ms since the Unix epoch.
    last_creation: AtomicU64,
}

impl Rooms {
    /// The rooms in `store`. Events are signed with `key` in the name of `server_name`.
    pub fn new(
        store: Store,
        clock: Clock,
        random: Random,
        server_name: OwnedServerName,
        key: Arc<SigningKey>,
        options: RoomsOptions,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                typing: typing::Typing::new(clock.now()),
                presences: presence::Presences::default(),
                delayed: tokio::sync::Notify::new(),
                tasks: tokio::sync::Notify::new(),
                unread: unread::UnreadCache::default(),
                stays: stays::StaysCache::default(),
                news: news::NewsCache::default(),
                events: event_cache::EventCache::default(),
                identities: identities::Identities::default(),
                directory: directory_order::DirectoryOrder::default(),
                ban_lists: BanLists::new(store.clone(), server_name.clone()),
                ignored: ignored::IgnoredCache::default(),
                forgotten: AtomicU64::new(0),
                rules: notify::RulesCache::default(),
                policy_servers: OnceLock::new(),
                serials: Mutex::default(),
                last_creation: AtomicU64::new(0),
                store,
                clock,
                random,
                server_name,
                key,
                options,
                queues: queue::RoomQueues::default(),
            }),
        }
    }

    /// This server's name.
    pub fn server_name(&self) -> &ServerName {
        &self.inner.server_name
    }

    /// The database, for readers that need one snapshot for several questions.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether `viewer` may look into a room.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] if not, or if it is not known here.
    pub fn may_read<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
    ) -> Result<(), ReadError> {
        let room = room_serial(view, room_id.as_str())?.ok_or_else(visibility::not_in_the_room)?;
        Access::of(view, room, viewer.user).map(|_| ())
    }

    /// The events of one room as `viewer` sees them.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for a room that is not known here, as for one that the
    /// viewer is not in: nobody learns which exist.
    pub fn reader<'a, R: Read>(
        &'a self,
        view: &'a R,
        room_id: &RoomId,
        viewer: Viewer,
    ) -> Result<EventReader<'a, R>, ReadError> {
        let room = room_serial(view, room_id.as_str())?.ok_or_else(visibility::not_in_the_room)?;
        self.reader_of(view, room, viewer)
    }

    /// The same of the room with this serial. Whether the viewer may look is not asked here.
    ///
    /// # Errors
    /// If the room is not there or the database fails.
    pub fn reader_of<'a, R: Read>(
        &'a self,
        view: &'a R,
        room: RoomSerial,
        viewer: Viewer,
    ) -> Result<EventReader<'a, R>, ReadError> {
        EventReader::remembering(self, view, room, viewer)
    }

    /// About how many bytes of events are kept in memory, for those who read them next.
    pub fn remembered_bytes(&self) -> u64 {
        self.inner.events.bytes() as u64
    }

    /// Forgets the events that nobody has read for a while. To be called each minute.
    pub fn rest(&self) {
        self.inner.events.rest();
    }

    /// Whether a user is one of this server's.
    pub(crate) fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.inner.server_name
    }

    /// The serial of a room that somebody wants to write to.
    pub(crate) async fn room(&self, room_id: &RoomId) -> Result<RoomSerial, AppendError> {
        if let Some(room) = self.inner.serials.lock().get(room_id) {
            return Ok(*room);
        }
        let name = room_id.to_string();
        let room = self
            .inner
            .store
            .prepare(move |latest| room_serial(latest, &name))
            .await?
            .ok_or(AppendError::UnknownRoom)?;
        let mut serials = self.inner.serials.lock();
        if serials.len() >= KEPT_IDS {
            serials.clear();
        }
        serials.insert(room_id.to_owned(), room);
        Ok(room)
    }

    /// The present, but never the same twice: the time of a new room.
    pub(crate) fn creation_time(&self) -> u64 {
        let now = self.inner.clock.now().0;
        let later = |last: u64| Some(now.max(last + 1));
        let last = &self.inner.last_creation;
        match last.fetch_update(Ordering::AcqRel, Ordering::Acquire, later) {
            Ok(before) | Err(before) => now.max(before + 1),
        }
    }
}

/// The serial of a room id, if the room is known here.
///
/// # Errors
/// If the database fails.
pub fn room_serial(view: &impl Read, room_id: &str) -> Result<Option<RoomSerial>, StoreError> {
    view.get(&tables::ROOM_BY_ID, &room_id.to_owned())
}

/// The id of the room of an event, if the event is known here. Who may see it is not
/// asked here.
///
/// # Errors
/// If the database fails.
pub fn room_of_event(view: &impl Read, event_id: &str) -> Result<Option<String>, StoreError> {
    let Some(event) = view.get(&tables::EVENT_BY_ID, &event_id.to_owned())? else {
        return Ok(None);
    };
    match view.get(&tables::EVENT_BY_SERIAL, &event)? {
        Some(stored) => model::room_id(view, stored.room),
        None => Ok(None),
    }
}

/// The serial of a user id, if the user is known here.
///
/// # Errors
/// If the database fails.
pub fn user_serial(view: &impl Read, user_id: &str) -> Result<Option<UserSerial>, StoreError> {
    view.get(&tables::USER_BY_ID, &user_id.to_owned())
}

/// What never changes about a room, with its version.
///
/// # Errors
/// If the room is not there, or the database fails.
pub fn room_record(view: &impl Read, room: RoomSerial) -> Result<(RoomRecord, Version), ReadError> {
    let record = view
        .get(&tables::ROOM_BY_SERIAL, &room)?
        .ok_or_else(|| ReadError::NotFound("this room is not known here".to_owned()))?;
    let version = Version::parse(&record.version)?;
    Ok((record, version))
}
