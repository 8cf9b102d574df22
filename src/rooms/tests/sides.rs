//! Two servers in one room: each with a database of its own, and the events carried
//! between them by hand.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use graph::{AuthState, Draft, Event, Parents, Received, SigningKey, Version, build};
use model::{EventSerial, Membership, RoomChange, RoomSerial, intern_user, tables};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, api::Direction};
use runtime::{Clock, Random, Timestamp};
use serde_json::{Value, json};
use store::{Read, Store, StoreOptions};
use tempfile::TempDir;

use super::{bodies, content, request};
use crate::{
    Arrival, CreateRoom, ImportedRoom, Incoming, MembersOmitted, NewEvent, Preset, Rooms,
    RoomsOptions, Sender, StateMaps, known::KnownEvents, room_record, room_serial,
};

/// One server with one person.
pub(super) struct Side {
    pub(super) rooms: Rooms,
    key: Arc<SigningKey>,
    pub(super) name: OwnedServerName,
    pub(super) person: Sender,
    pub(super) room_id: Option<OwnedRoomId>,
    pub(super) clock: Clock,
    /// Up to where its events have been carried to the other side.
    pub(super) carried: usize,
    // Holds the database.
    _folder: TempDir,
}

pub(super) type State = BTreeMap<(String, String), String>;
/// Ids of states by the events after which they were.
pub(super) type States = BTreeMap<OwnedEventId, Vec<OwnedEventId>>;

/// Whatever a test has done, the lists of rooms say what the other tables say.
impl Drop for Side {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            super::lists::check(&self.rooms.store().snapshot());
        }
    }
}

impl Side {
    pub(super) async fn new(name: &str, seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let random = Random::seeded(seed.into());
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), name, &options, &clock, &random).unwrap();
        let key = Arc::new(SigningKey::generate([seed; 32], "a".to_owned()).unwrap());
        let name = OwnedServerName::try_from(name).unwrap();
        let user_id = OwnedUserId::try_from(format!("@person:{name}")).unwrap();
        let (candidate, interned) = (store.next_serial(), user_id.to_string());
        let user = store
            .commit(move |latest, _, batch| intern_user(latest, batch, &interned, candidate))
            .await
            .unwrap();
        let rooms = Rooms::new(
            store,
            clock.clone(),
            random,
            name.clone(),
            key.clone(),
            RoomsOptions::default(),
        );
        Self {
            rooms,
            key,
            name,
            person: Sender {
                user_id,
                user,
                device: None,
                sent_at: None,
            },
            room_id: None,
            clock,
            carried: 0,
            _folder: folder,
        }
    }

    pub(super) fn room(&self) -> RoomSerial {
        let view = self.rooms.store().snapshot();
        let room_id = self.room_id.as_ref().unwrap();
        room_serial(&view, room_id.as_str()).unwrap().unwrap()
    }

    pub(super) async fn append(&self, event: NewEvent) -> OwnedEventId {
        self.try_append(event).await.unwrap()
    }

    pub(super) async fn try_append(
        &self,
        event: NewEvent,
    ) -> Result<OwnedEventId, crate::AppendError> {
        let appended = self
            .rooms
            .append(self.room(), &self.person, vec![event])
            .await?;
        Ok(appended[0].event_id.clone())
    }

    pub(super) async fn say(&self, text: &str) -> OwnedEventId {
        let message = json!({ "msgtype": "m.text", "body": text });
        self.append(NewEvent::message("m.room.message", content(message)))
            .await
    }

    pub(super) async fn set(
        &self,
        event_type: &str,
        state_key: &str,
        value: Value,
    ) -> OwnedEventId {
        self.append(NewEvent::state(event_type, state_key, content(value)))
            .await
    }

    /// What everybody with this database would say about events of the room.
    pub(super) fn with_known<T>(
        &self,
        look: impl FnOnce(&KnownEvents<'_, store::Snapshot>) -> T,
    ) -> T {
        let view = self.rooms.store().snapshot();
        let (record, version) = room_record(&view, self.room()).unwrap();
        let room_id = OwnedRoomId::try_from(record.room_id).unwrap();
        look(&KnownEvents::new(&view, self.room(), version, room_id))
    }

    pub(super) fn copy(&self, serial: EventSerial) -> Received {
        self.with_known(|known| {
            let found = known.by_serial(serial).unwrap().unwrap();
            received(&found.event)
        })
    }

    /// The events that this side was told of in the room, in the order of the log.
    fn told_events(&self) -> Vec<EventSerial> {
        let view = self.rooms.store().snapshot();
        let rows = view.scan(&tables::CHANGE_BY_ROOM, &(self.room(),));
        let events = rows.filter_map(|row| match row.unwrap().1 {
            RoomChange::Event(change) => Some(change.event),
            RoomChange::Receipt { .. } | RoomChange::State { .. } | RoomChange::Gap => None,
        });
        events.collect()
    }

    /// Their ids.
    pub(super) fn told_ids(&self) -> Vec<OwnedEventId> {
        let events = self.told_events().into_iter();
        events
            .map(|serial| self.copy(serial).event.event_id().to_owned())
            .collect()
    }

    /// Those of this side.
    pub(super) fn own_events(&self) -> Vec<EventSerial> {
        let own = format!(":{}", self.name);
        let mut events = self.told_events();
        events.retain(|serial| {
            let copy = self.copy(*serial);
            copy.event.sender().as_str().ends_with(&own)
        });
        events
    }

    /// Carries up to so many events of this side to the other, in their order.
    pub(super) async fn carry(&mut self, to: &Self, most: usize) -> Vec<Arrival> {
        let events = self.own_events();
        let events = &events[self.carried..];
        let events = &events[..most.min(events.len())];
        self.carried += events.len();
        let incoming = events
            .iter()
            .map(|serial| Incoming::new(self.copy(*serial)));
        let incoming = incoming.collect();
        to.rooms.receive(to.room(), incoming).await.unwrap()
    }

    /// The current state by event ids: as the state map has it, and as it is kept flat.
    pub(super) fn state(&self) -> State {
        let view = self.rooms.store().snapshot();
        let head = view
            .get(&tables::HEAD_BY_ROOM, &self.room())
            .unwrap()
            .unwrap();
        let maps = StateMaps::new(&view, self.room(), self.rooms.store().secret());
        let id = |serial| self.copy(serial).event.event_id().to_string();
        let mapped: State = maps
            .all(head.state)
            .unwrap()
            .into_iter()
            .map(|(event_type, state_key, serial)| ((event_type, state_key), id(serial)))
            .collect();
        let flat: State = view
            .scan(&tables::STATE_BY_ROOM, &(self.room(),))
            .map(|row| {
                let ((_, event_type, state_key), serial) = row.unwrap();
                ((event_type, state_key), id(serial))
            })
            .collect();
        assert_eq!(mapped, flat);
        let joined = view
            .scan(&tables::MEMBER_BY_ROOM, &(self.room(),))
            .filter(|row| row.as_ref().unwrap().1 == Membership::Join)
            .count();
        assert_eq!(u64::try_from(joined).unwrap(), head.joined);
        mapped
    }

    pub(super) async fn extremities(&self) -> BTreeSet<String> {
        let ids = self.rooms.extremities(self.room()).await.unwrap();
        ids.iter().map(ToString::to_string).collect()
    }

    /// What the person can page through, oldest first.
    pub(super) fn messages(&self) -> Vec<String> {
        let view = self.rooms.store().snapshot();
        let (room_id, viewer) = (self.room_id.as_ref().unwrap(), self.person.viewer());
        let request = request(Direction::Forward, 1000);
        let page = self
            .rooms
            .messages(&view, room_id, viewer, &request)
            .unwrap();
        bodies(&page.chunk)
    }

    /// A room that this side makes.
    pub(super) async fn create(&mut self, version: &str) {
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            version: Some(version.to_owned()),
            ..CreateRoom::default()
        };
        self.room_id = Some(self.rooms.create(&self.person, wish).await.unwrap());
    }

    /// The other side's person comes in, by the event that that server makes.
    pub(super) async fn let_in(&self, other: &mut Self) {
        let state = self.state_events();
        let join = self.join_of(other).await;
        self.give(other, &join, &state, None).await;
    }

    /// The same without the members. Gives the states after the events directly before the
    /// join, as this side would tell them.
    pub(super) async fn let_in_partly(&self, other: &mut Self) -> States {
        let state = self.state_events();
        let join = self.join_of(other).await;
        let rest: Vec<_> = state
            .iter()
            .filter(|event| event.event_type() != "m.room.member")
            .cloned()
            .collect();
        let omitted = MembersOmitted {
            given_by: self.name.clone(),
            servers: vec![self.name.clone()],
        };
        self.give(other, &join, &rest, Some(omitted)).await;
        let ids: Vec<_> = state.iter().map(|it| it.event_id().to_owned()).collect();
        let before = join.prev_events().iter();
        before.map(|prev| (prev.clone(), ids.clone())).collect()
    }

    /// The other side's person comes in, as far as this side is concerned.
    async fn join_of(&self, other: &Self) -> Event {
        let version = self.with_known(|known| known.version);
        let draft = Draft {
            event_type: "m.room.member".to_owned(),
            state_key: Some(other.person.user_id.to_string()),
            content: content(json!({ "membership": "join" })),
            sender: other.person.user_id.clone(),
            redacts: None,
            origin_server_ts: other.clock.now().0,
            sticky: None,
        };
        let join = self.remote_event(other, version, draft).await;
        let arrived = self
            .rooms
            .receive(self.room(), vec![Incoming::new(received(&join))])
            .await
            .unwrap();
        assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
        join
    }

    pub(super) async fn give(
        &self,
        other: &mut Self,
        join: &Event,
        state: &[Arc<Event>],
        omitted: Option<MembersOmitted>,
    ) {
        let (version, room_id) = self.with_known(|known| (known.version, known.room_id.clone()));
        let mut rests = state.to_vec();
        rests.push(Arc::new(received(join).event));
        let imported = ImportedRoom {
            omitted,
            room_id: room_id.clone(),
            version,
            state: state.iter().map(|it| it.event_id().to_owned()).collect(),
            event: received(join),
        };
        let mut events = self.auth_chain(&rests);
        events.extend(state.iter().map(|event| received(event)));
        let room = other.rooms.know_room(&room_id, version).await.unwrap();
        other.rooms.keep_outliers(room, events).await.unwrap();
        other.rooms.import(imported).await.unwrap();
        other.room_id = Some(room_id);
        other.carried = other.own_events().len();
    }

    /// An event of the other side's server on this side's end of the room.
    pub(super) async fn remote_event(&self, other: &Self, version: Version, draft: Draft) -> Event {
        let auth: AuthState = self.state_events().into_iter().collect();
        let auth_events = auth.auth_events(version, &draft).unwrap();
        self.claimed_event(other, version, draft, &auth_events)
            .await
    }

    /// The same, with the events that allow it by that server's word.
    pub(super) async fn claimed_event(
        &self,
        other: &Self,
        version: Version,
        draft: Draft,
        auth_events: &[OwnedEventId],
    ) -> Event {
        let prev_events = self.rooms.extremities(self.room()).await.unwrap();
        let view = self.rooms.store().snapshot();
        let head = view
            .get(&tables::HEAD_BY_ROOM, &self.room())
            .unwrap()
            .unwrap();
        let parents = Parents {
            prev_events,
            depth: head.depth + 1,
        };
        self.event_after(other, version, draft, auth_events, parents)
    }

    /// An event of the other side's server after these.
    pub(super) fn event_after(
        &self,
        other: &Self,
        version: Version,
        draft: Draft,
        auth_events: &[OwnedEventId],
        parents: Parents,
    ) -> Event {
        let room_id = self.room_id.as_deref();
        build(
            version,
            room_id,
            draft,
            parents,
            auth_events,
            &other.key,
            &other.name,
        )
        .unwrap()
    }

    pub(super) fn state_events(&self) -> Vec<Arc<Event>> {
        self.with_known(|known| {
            let ids = self.state().into_values();
            ids.map(|event_id| {
                let event_id = OwnedEventId::try_from(event_id).unwrap();
                known.by_id(&event_id).unwrap().unwrap().event.clone()
            })
            .collect()
        })
    }

    pub(super) fn auth_chain(&self, of: &[Arc<Event>]) -> Vec<Received> {
        self.with_known(|known| {
            let mut open: Vec<_> = of
                .iter()
                .flat_map(|event| event.auth_events().to_vec())
                .collect();
            let mut seen = HashSet::new();
            let mut chain = Vec::new();
            while let Some(event_id) = open.pop() {
                if seen.insert(event_id.clone()) {
                    let found = known.by_id(&event_id).unwrap().unwrap();
                    open.extend(found.event.auth_events().to_vec());
                    chain.push(received(&found.event));
                }
            }
            chain
        })
    }
}

pub(super) fn received(event: &Event) -> Received {
    let copy = Event::from_stored(
        event.json().as_bytes().to_vec(),
        event.event_id().to_owned(),
        event.version(),
        event.room_id().to_owned(),
        false,
    );
    Received {
        event: copy.unwrap(),
        redacted: false,
    }
}

/// Two servers in one room, the maker's first.
pub(super) async fn shared(version: &str) -> (Side, Side) {
    let mut a = Side::new("a.test", 1).await;
    let mut b = Side::new("b.test", 2).await;
    a.create(version).await;
    a.carried = a.own_events().len();
    a.let_in(&mut b).await;
    (a, b)
}

pub(super) async fn give_power(a: &mut Side, b: &Side) {
    let mut levels: Value = {
        let key = ("m.room.power_levels".to_owned(), String::new());
        let event_id = OwnedEventId::try_from(a.state()[&key].clone()).unwrap();
        a.with_known(|known| {
            let event = known.by_id(&event_id).unwrap().unwrap().event.clone();
            serde_json::from_str(event.content().get()).unwrap()
        })
    };
    levels["users"][b.person.user_id.as_str()] = 90.into();
    a.set("m.room.power_levels", "", levels).await;
    a.carry(b, 10).await;
}
