//! Looking back into a room beyond what is held here: other servers of the room are asked
//! for what is missing (server-server API, "Backfilling and retrieving missing events").

use std::time::Duration;

use js_int::UInt;
use peers::Ask;
use rooms::{
    Arrival, Gap, Incoming, Page, PageRequest, PlaceToken, ReadError, Viewer, gaps_below,
    room_serial,
};
use ruma_common::{OwnedEventId, RoomId, api::Direction};
use ruma_federation_api::backfill::get_backfill::v1 as backfill;
use store::Snapshot;

use crate::{
    Actions,
    receiving::{Incomplete, Place},
};

/// Larger pages are read where they delay no short one.
const SHORT_PAGE: usize = 100;
/// How long another server may take to tell a piece of history.
const WAIT: Duration = Duration::from_secs(20);
/// The largest piece of history, in bytes.
const HISTORY_BYTES: usize = 16 * 1024 * 1024;
/// The most events of a piece.
const MOST_EVENTS: u32 = 100;
/// The most gaps that are asked about together.
const MOST_GAPS: usize = 10;
/// How many pieces are fetched for one page.
const ROUNDS: usize = 3;
/// How many servers are asked for a piece before the gap is left as it is.
const MOST_ASKED: usize = 4;

impl Actions {
    /// A page of a room's timeline, `GET /rooms/{roomId}/messages`: where it reaches a gap,
    /// what is missing is fetched from the other servers of the room first.
    ///
    /// # Errors
    /// [`ReadError`], as [`rooms::Rooms::messages`]. That nobody tells what is missing is
    /// none: the page ends there for now.
    pub async fn messages(
        &self,
        room_id: &RoomId,
        viewer: Viewer,
        request: PageRequest,
    ) -> Result<Page, ReadError> {
        let (mut page, mut gaps) = self.page(room_id, viewer, &request).await?;
        for _ in 0..ROUNDS {
            if gaps.is_empty() || !self.fill(room_id, &gaps).await {
                break;
            }
            (page, gaps) = self.page(room_id, viewer, &request).await?;
        }
        Ok(page)
    }

    /// A page, and the gaps that it reaches, going back.
    async fn page(
        &self,
        room_id: &RoomId,
        viewer: Viewer,
        request: &PageRequest,
    ) -> Result<(Page, Vec<Gap>), ReadError> {
        let (rooms, room_id, request) = (self.rooms.clone(), room_id.to_owned(), request.clone());
        let store = self.rooms.store();
        let is_short = request.limit <= SHORT_PAGE;
        let read = move |view: &Snapshot| {
            let page = rooms.messages(view, &room_id, viewer, &request)?;
            let gaps = match request.direction {
                Direction::Backward => gaps_on(view, &room_id, &page)?,
                Direction::Forward => Vec::new(),
            };
            Ok((page, gaps))
        };
        if is_short {
            store.read_quickly(read).await
        } else {
            store.read_long(read).await
        }
    }

    /// Asks for what is missing, and tells whether something came.
    async fn fill(&self, room_id: &RoomId, gaps: &[Gap]) -> bool {
        let Ok(Some((room, version))) = self.rooms.part_of(room_id).await else {
            return false;
        };
        let turn = self.looking_back.of(room);
        let _turn = turn.lock().await;
        let servers = match self.rooms.servers_to_ask(room, gaps, MOST_ASKED).await {
            Ok(servers) => servers,
            Err(error) => {
                log::error!("nobody was asked for the history of {room_id}: {error}");
                return false;
            }
        };
        let missing: Vec<OwnedEventId> = gaps.iter().map(|gap| gap.missing.clone()).collect();
        for server in servers {
            let place = Place {
                origin: &server,
                room,
                room_id,
                version,
            };
            let events = self.history_before(place, missing.clone()).await;
            if !events.is_empty() && self.take_history(place, events).await {
                return true;
            }
        }
        false
    }

    /// What comes before missing events, and these.
    pub(crate) async fn history_before(
        &self,
        place: Place<'_>,
        missing: Vec<OwnedEventId>,
    ) -> Vec<Incoming> {
        let limit = UInt::from(MOST_EVENTS);
        let request = backfill::Request::new(place.room_id.to_owned(), missing, limit);
        let ask = Ask::new("backfill").within(WAIT).up_to(HISTORY_BYTES);
        match self.peers.ask(place.origin, request, ask).await {
            Ok(answer) => {
                let mut events = answer.pdus;
                events.truncate(MOST_EVENTS as usize);
                self.placeable(place, events).await
            }
            Err(error) => {
                log::debug!(
                    "{} tells no history of {}: {error}",
                    place.origin,
                    place.room_id
                );
                Vec::new()
            }
        }
    }

    /// Brings pieces of history in, oldest first, and tells whether any of it was new.
    pub(crate) async fn take_history(&self, place: Place<'_>, mut events: Vec<Incoming>) -> bool {
        events.sort_by_key(|incoming| incoming.received.event.depth());
        for incoming in &mut events {
            incoming.is_history = true;
        }
        let mut came = false;
        for incoming in self.recommended(place.room, events).await {
            let event_id = incoming.received.event.event_id().to_owned();
            match self.take_piece(place, incoming).await {
                Ok(is_new) => came |= is_new,
                Err(reason) => log::info!("{event_id} of {}: {reason}", place.room_id),
            }
        }
        came
    }

    /// Brings one event of the past in; where what comes before it is missing, on the state
    /// that the other server names.
    async fn take_piece(&self, place: Place<'_>, incoming: Incoming) -> Result<bool, Incomplete> {
        let mut incoming = incoming;
        let is_unvouched = incoming.is_unvouched;
        for _ in 0..3 {
            let arrival = self.rooms.receive(place.room, vec![incoming]).await?.pop();
            match arrival {
                Some(Arrival::Accepted(_)) => return Ok(true),
                Some(Arrival::MissingAuth(_, back)) => {
                    incoming = *back;
                    let event_id = incoming.received.event.event_id();
                    self.fetch_auth_chain(place, event_id).await?;
                }
                Some(Arrival::MissingPrev(missing, back)) => {
                    incoming = *back;
                    let event_id = incoming.received.event.event_id().to_owned();
                    let state = self.fetch_state_before(place, &event_id).await?;
                    let states = missing.into_iter().map(|prev| (prev, state.clone()));
                    incoming.prev_states.extend(states);
                }
                // It fills its place.
                Some(Arrival::Rejected(_)) if is_unvouched => return Ok(true),
                Some(Arrival::Rejected(reason)) => return Err(Incomplete::Reason(reason)),
                Some(Arrival::SoftFailed(_) | Arrival::Known) | None => return Ok(false),
            }
        }
        let reason = "what it rests on is not to be had";
        Err(Incomplete::Reason(reason.to_owned()))
    }
}

/// The gaps that a page reaches, going back.
fn gaps_on(view: &Snapshot, room_id: &RoomId, page: &Page) -> Result<Vec<Gap>, ReadError> {
    let Some(room) = room_serial(view, room_id.as_str())? else {
        return Ok(Vec::new());
    };
    let end = page.end.unwrap_or(PlaceToken::START);
    let mut gaps = gaps_below(view, room, page.start, MOST_GAPS)?;
    gaps.retain(|gap| gap.depth >= end.depth);
    Ok(gaps)
}
