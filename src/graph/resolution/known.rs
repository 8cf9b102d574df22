//! What a resolution has seen of the room, and how much more it may see.

use std::{collections::HashMap, sync::Arc};

use ruma_common::{EventId, OwnedEventId, RoomId};

use super::{Link, ResolutionError, RoomGraph};
use crate::{Event, Version};

/// The room's graph as far as it was asked for; everything is asked for once.
pub(super) struct Known<'a, G: RoomGraph> {
    pub(super) version: Version,
    graph: &'a G,
    room_id: &'a RoomId,
    /// The create event, which every event rests on without naming it: where the room id is made of its id.
    create: Option<OwnedEventId>,
    events: HashMap<OwnedEventId, Arc<Event>>,
    links: HashMap<OwnedEventId, Arc<Link>>,
    limit: usize,
}

impl<'a, G: RoomGraph> Known<'a, G> {
    pub(super) fn new(version: Version, room_id: &'a RoomId, graph: &'a G, limit: usize) -> Self {
        let create = version
            .room_id_is_create_event()
            .then(|| EventId::parse(format!("${}", room_id.strip_sigil())).ok())
            .flatten();
        Self {
            version,
            graph,
            room_id,
            create,
            events: HashMap::new(),
            links: HashMap::new(),
            limit,
        }
    }

    pub(super) fn create(&self) -> Option<&EventId> {
        self.create.as_deref()
    }

    pub(super) fn event(
        &mut self,
        event_id: &EventId,
    ) -> Result<Arc<Event>, ResolutionError<G::Error>> {
        if let Some(event) = self.events.get(event_id) {
            return Ok(event.clone());
        }
        self.count()?;
        let event = self
            .graph
            .event(event_id)
            .map_err(ResolutionError::Graph)?
            .ok_or_else(|| ResolutionError::Missing(event_id.to_owned()))?;
        if event.room_id() != self.room_id {
            return Err(ResolutionError::OtherRoom(event_id.to_owned()));
        }
        self.events.insert(event_id.to_owned(), event.clone());
        Ok(event)
    }

    /// The event's link, with the create event where it is not named, whose generation is then below all others.
    pub(super) fn link(
        &mut self,
        event_id: &EventId,
    ) -> Result<Arc<Link>, ResolutionError<G::Error>> {
        if let Some(link) = self.links.get(event_id) {
            return Ok(link.clone());
        }
        self.count()?;
        let mut link = self
            .graph
            .link(event_id)
            .map_err(ResolutionError::Graph)?
            .ok_or_else(|| ResolutionError::Missing(event_id.to_owned()))?;
        match &self.create {
            Some(create) if create == event_id => link.generation = 0,
            Some(create) => {
                link.generation = link.generation.saturating_add(1);
                if !link.auth_events.contains(create) {
                    link.auth_events.push(create.clone());
                }
            }
            None => {}
        }
        let link = Arc::new(link);
        self.links.insert(event_id.to_owned(), link.clone());
        Ok(link)
    }

    /// The link of one of the events that `above` rests on.
    pub(super) fn link_below(
        &mut self,
        event_id: &EventId,
        above: &EventId,
        generation: u64,
    ) -> Result<Arc<Link>, ResolutionError<G::Error>> {
        let link = self.link(event_id)?;
        if link.generation >= generation {
            return Err(ResolutionError::Generation(above.to_owned()));
        }
        Ok(link)
    }

    pub(super) fn unconflicted(
        &self,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<OwnedEventId>, ResolutionError<G::Error>> {
        self.graph
            .unconflicted(event_type, state_key)
            .map_err(ResolutionError::Graph)
    }

    /// Whether an event is what all forks have under its key.
    pub(super) fn is_unconflicted(
        &mut self,
        event_id: &EventId,
    ) -> Result<bool, ResolutionError<G::Error>> {
        let event = self.event(event_id)?;
        let Some(state_key) = event.state_key() else {
            return Ok(false);
        };
        let same = self.unconflicted(event.event_type(), state_key)?;
        Ok(same.as_deref() == Some(event_id))
    }

    /// Shows the state that all forks have until `visit` is done, or fails.
    pub(super) fn each_unconflicted(
        &mut self,
        mut visit: impl FnMut(&mut Self, &EventId) -> Result<bool, ResolutionError<G::Error>>,
    ) -> Result<(), ResolutionError<G::Error>> {
        let graph = self.graph;
        let mut outcome = Ok(());
        graph
            .each_unconflicted(&mut |event_id| match visit(self, event_id) {
                Ok(more) => more,
                Err(error) => {
                    outcome = Err(error);
                    false
                }
            })
            .map_err(ResolutionError::Graph)?;
        outcome
    }

    fn count(&self) -> Result<(), ResolutionError<G::Error>> {
        if self.events.len() + self.links.len() < self.limit {
            Ok(())
        } else {
            Err(ResolutionError::TooManyEvents { limit: self.limit })
        }
    }
}
