//! The events of one room by their ids, with what became of them: as those look at them
//! who bring events of other servers in.

use std::{collections::HashMap, sync::Arc};

use graph::{Event, Version};
use model::{EventMeta, EventSerial, EventStatus, RoomSerial, StateRoot, tables};
use parking_lot::Mutex;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId};
use store::{Read, StoreError};

use crate::{ReadError, StateMaps, state_map::EMPTY};

/// An event that this server holds.
#[derive(Debug)]
pub(crate) struct KnownEvent {
    pub(crate) serial: EventSerial,
    /// It says itself whether it was rejected.
    pub(crate) event: Arc<Event>,
    pub(crate) meta: EventMeta,
}

impl KnownEvent {
    /// The state before the event; none if that is not known here.
    pub(crate) fn state_before(&self) -> Option<StateRoot> {
        let root = self.meta.state_before;
        match self.meta.status {
            EventStatus::Accepted | EventStatus::SoftFailed | EventStatus::StatePartial => {
                Some(root)
            }
            EventStatus::Outlier => None,
            // Rejected where it stood, or only for its auth events: then nobody has looked for its place.
            EventStatus::Rejected => (root != EMPTY).then_some(root),
        }
    }
}

/// What was looked up of one room. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Looked(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    by_id: HashMap<OwnedEventId, Option<Arc<KnownEvent>>>,
    by_serial: HashMap<EventSerial, Option<Arc<KnownEvent>>>,
}

impl Looked {
    /// An event has become another than was found: it is looked up again.
    pub(crate) fn forget(&self, event_id: &EventId) {
        let mut found = self.0.lock();
        if let Some(known) = found.by_id.remove(event_id).flatten() {
            found.by_serial.remove(&known.serial);
        }
    }
}

/// Looks up events of one room, each once.
pub(crate) struct KnownEvents<'a, R> {
    view: &'a R,
    room: RoomSerial,
    pub(crate) version: Version,
    pub(crate) room_id: OwnedRoomId,
    looked: Looked,
}

impl<'a, R: Read> KnownEvents<'a, R> {
    pub(crate) fn new(
        view: &'a R,
        room: RoomSerial,
        version: Version,
        room_id: OwnedRoomId,
    ) -> Self {
        Self {
            view,
            room,
            version,
            room_id,
            looked: Looked::default(),
        }
    }

    /// The same with what was looked up before.
    pub(crate) fn after(self, looked: Looked) -> Self {
        Self { looked, ..self }
    }

    /// Where the events are read from.
    pub(crate) fn view(&self) -> &'a R {
        self.view
    }

    /// The event of an id, if it is held here and of this room.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub(crate) fn by_id(&self, event_id: &EventId) -> Result<Option<Arc<KnownEvent>>, ReadError> {
        if let Some(known) = self.looked.0.lock().by_id.get(event_id) {
            return Ok(known.clone());
        }
        let found = match self
            .view
            .get(&tables::EVENT_BY_ID, &event_id.as_str().to_owned())?
        {
            Some(serial) => self.by_serial(serial)?,
            None => None,
        };
        let mut looked = self.looked.0.lock();
        looked.by_id.insert(event_id.to_owned(), found.clone());
        Ok(found)
    }

    /// The event of a serial, if it is there and of this room.
    ///
    /// # Errors
    /// As [`KnownEvents::by_id`].
    pub(crate) fn by_serial(
        &self,
        serial: EventSerial,
    ) -> Result<Option<Arc<KnownEvent>>, ReadError> {
        if let Some(known) = self.looked.0.lock().by_serial.get(&serial) {
            return Ok(known.clone());
        }
        let found = self.read(serial)?.map(Arc::new);
        let mut looked = self.looked.0.lock();
        looked.by_serial.insert(serial, found.clone());
        Ok(found)
    }

    /// An event that is not written yet is found from now on too.
    pub(crate) fn add(&self, known: KnownEvent) {
        let known = Arc::new(known);
        let event_id = known.event.event_id().to_owned();
        let mut looked = self.looked.0.lock();
        looked.by_serial.insert(known.serial, Some(known.clone()));
        looked.by_id.insert(event_id, Some(known));
    }

    fn read(&self, serial: EventSerial) -> Result<Option<KnownEvent>, ReadError> {
        let Some(stored) = self.view.get(&tables::EVENT_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        let Some(meta) = self.view.get(&tables::EVENT_META_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        if stored.room != self.room {
            return Ok(None);
        }
        let damaged = |_| StoreError::Corrupt {
            table: tables::EVENT_BY_SERIAL.name,
            reason: store::DecodeError("an id in it is none"),
        };
        let event_id = OwnedEventId::try_from(stored.event_id.as_str()).map_err(damaged)?;
        let rejected = meta.status == EventStatus::Rejected;
        let event = Event::from_stored(
            stored.json,
            event_id,
            self.version,
            self.room_id.clone(),
            rejected,
        )?;
        Ok(Some(KnownEvent {
            serial,
            event: Arc::new(event),
            meta,
        }))
    }

    /// The state after an event; none if the state before it is not known here.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn state_after(
        &self,
        maps: &mut StateMaps<'_, R>,
        known: &KnownEvent,
    ) -> Result<Option<StateRoot>, ReadError> {
        let Some(before) = known.state_before() else {
            return Ok(None);
        };
        Ok(Some(match known.event.state_key() {
            Some(state_key) if !known.event.rejected() => {
                maps.insert(before, known.event.event_type(), state_key, known.serial)?
            }
            _ => before,
        }))
    }
}
