//! What is told beside rooms: messages to the device (MSC3885), device lists and key
//! counts (MSC3884), account data (MSC3959), receipts (MSC3960), who types (MSC3961).
//!
//! Every request says what it wants; nothing is remembered from the one before.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{EventSerial, Membership, RoomSerial, room_scope};
use rooms::ReceiptViewer;
use store::Position;

use super::{
    Asking,
    known::{Known, KnownRoom},
    lists::Selection,
};
use crate::{
    Sync, SyncError, device_lists,
    json::{Composer, basic_event, quoted, strings, values},
    room::{MovedReceipt, moved_receipts},
    sections::{TO_DEVICE_LIMIT, data_event, typing_event},
    token::ToDeviceToken,
    window::Window,
};

/// The events of timelines that begin anew.
type Fresh = HashMap<RoomSerial, Vec<EventSerial>>;

impl Sync {
    /// Writes all extensions that are wanted; returns whether there is news.
    pub(crate) fn extend(
        &self,
        asking: &Asking<'_>,
        selection: &Selection,
        fresh: &Fresh,
        known: &mut Known,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let wanted = &asking.question.extensions;
        let mut has_news = false;
        if wanted.to_device.enabled {
            has_news |= self.extend_to_device(asking, answer)?;
        }
        if wanted.e2ee.enabled {
            has_news |= self.extend_e2ee(asking, known, answer)?;
        }
        if wanted.sticky.enabled {
            has_news |= self.extend_sticky(asking, &wanted.sticky, fresh, answer)?;
        }
        if wanted.subscriptions.enabled {
            has_news |= self.extend_subscriptions(asking, &wanted.subscriptions, known, answer)?;
        }
        let mut ephemeral = Vec::new();
        if wanted.account_data.enabled {
            // Where only rooms changed, there is none to be told.
            let scope = match asking.changed {
                Some(_) => BTreeSet::new(),
                None => selection.scope(&wanted.account_data),
            };
            ephemeral.push(("account_data", self.told_data(asking, &scope, known)?));
        }
        if wanted.receipts.enabled {
            let scope = match &asking.changed {
                Some(changed) => {
                    let untold = known.untold_receipts.keys().copied();
                    let rooms = changed.iter().copied().chain(untold);
                    selection.scope_among(&wanted.receipts, rooms)
                }
                None => selection.scope(&wanted.receipts),
            };
            ephemeral.push((
                "receipts",
                self.told_receipts(asking, &scope, fresh, known)?,
            ));
        }
        if wanted.typing.enabled {
            let is_quiet = self.inner.rooms.typing_sequence() <= known.ephemeral;
            let scope = match asking.changed {
                Some(_) if is_quiet && fresh.is_empty() => BTreeSet::new(),
                _ => selection.scope(&wanted.typing),
            };
            ephemeral.push(("typing", self.told_typing(asking, &scope, known)?));
        }
        for (name, part) in ephemeral {
            if !part.is_empty() {
                has_news = true;
                answer.field(name, &part.finish());
            }
        }
        Ok(has_news)
    }

    fn extend_to_device(
        &self,
        asking: &Asking<'_>,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let limit = asking.question.extensions.to_device.limit;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(TO_DEVICE_LIMIT).clamp(1, TO_DEVICE_LIMIT);
        let device = asking.question.session.device;
        let (messages, position) = self.waiting_messages(asking.snapshot, device, limit)?;
        let next = ToDeviceToken {
            epoch: self.inner.store.epoch(),
            position,
        };
        let mut part = Composer::object();
        part.field("next_batch", &quoted(&next.to_string()));
        if !messages.is_empty() {
            part.field("events", &values(&messages));
        }
        answer.field("to_device", &part.finish());
        Ok(!messages.is_empty())
    }

    fn extend_e2ee(
        &self,
        asking: &Asking<'_>,
        known: &mut Known,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let told = |before: &Known| before.device_lists.unwrap_or(before.position);
        let window = self.window(asking, asking.before.map(told))?;
        let position = asking.snapshot.position();
        let lists = device_lists::changes(&self.inner.store, &window, position)?;
        let mut part = Composer::object();
        let mut has_news = self.key_counts(asking.question.session.device, &window, &mut part)?;
        if !lists.is_empty() {
            has_news = true;
            let mut users = Composer::object();
            users
                .field("changed", &strings(&lists.changed))
                .field("left", &strings(&lists.left));
            part.field("device_lists", &users.finish());
        }
        known.device_lists = Some(position);
        answer.field("e2ee", &part.finish());
        Ok(has_news)
    }

    fn window<'a>(
        &'a self,
        asking: &Asking<'a>,
        since: Option<Position>,
    ) -> Result<Window<'a>, SyncError> {
        Window::with(
            &self.inner.rooms,
            asking.snapshot,
            since,
            asking.question.session.user,
            asking.user.memberships.clone(),
        )
    }

    /// The account's own data, and that of the rooms in `scope` that the client knows.
    fn told_data(
        &self,
        asking: &Asking<'_>,
        scope: &BTreeSet<RoomSerial>,
        known: &mut Known,
    ) -> Result<Composer, SyncError> {
        let (snapshot, user) = (asking.snapshot, asking.question.session.user);
        let window = self.window(asking, asking.before.and_then(|before| before.account_data))?;
        let mut part = Composer::object();
        let global = self.account_data(&window, |_| true)?;
        if !global.is_empty() {
            part.field("global", &values(&global));
        }
        known.account_data = Some(snapshot.position());
        // What nobody asks for now is told when somebody does.
        known.untold_data.extend(window.room_data.keys());
        let mut rooms = Composer::object();
        for room in scope {
            let Some(since) = known.rooms.get(*room).map(|told| told.account_data) else {
                continue;
            };
            if !known.untold_data.remove(room) && since.is_some() {
                continue;
            }
            if let Some(told) = known.rooms.get_mut(*room) {
                told.account_data = Some(snapshot.position());
            }
            let entries = accounts::account_data_of_room(snapshot, user, Some(*room))?;
            let entries = entries.iter().filter(|entry| match since {
                Some(since) => entry.position > since,
                None => !entry.is_deleted(),
            });
            let entries: Vec<String> = entries.map(data_event).collect();
            if !entries.is_empty()
                && let Some(room_id) = model::room_id(snapshot, *room)?
            {
                rooms.field(&room_id, &values(&entries));
            }
        }
        // Rooms that were never told are told whole.
        let rooms_told = &known.rooms;
        known.untold_data.retain(|room| rooms_told.has(*room));
        if !rooms.is_empty() {
            part.field("rooms", &rooms.finish());
        }
        Ok(part)
    }

    /// `{"rooms":{…}}` with the receipts in the rooms of `scope` that moved; in a timeline
    /// that begins anew those at its events, and the user's own. An answer has one
    /// `m.receipt` for a room: what it has no room for comes with the next.
    fn told_receipts(
        &self,
        asking: &Asking<'_>,
        scope: &BTreeSet<RoomSerial>,
        fresh: &Fresh,
        known: &mut Known,
    ) -> Result<Composer, SyncError> {
        let (snapshot, user) = (asking.snapshot, asking.question.session.user);
        let mut rooms = Composer::object();
        let viewer = ReceiptViewer {
            user,
            ignored: &asking.user.ignored,
        };
        let mut untold = std::mem::take(&mut known.untold_receipts);
        for room in scope.iter().copied() {
            let Some(told) = joined(known, room) else {
                continue;
            };
            let told_at = told.receipts;
            let left = untold.remove(&room).unwrap_or_default();
            let receipts = match (fresh.get(&room), told_at) {
                (Some(events), since) => rooms::receipts_at(snapshot, room, viewer, events, since)?,
                (None, None) => rooms::receipts_at(snapshot, room, viewer, &[], None)?,
                (None, Some(since)) => {
                    let is_quiet = !self.inner.store.changed_since(room_scope(room), since)
                        && !asking.user.has_read_privately(room, since);
                    if is_quiet && left.is_empty() {
                        continue;
                    }
                    match self.moved_since(asking, room, since)? {
                        Some(moved) => {
                            let moved = left.into_iter().chain(moved);
                            rooms::receipts_of(snapshot, room, viewer, moved)?
                        }
                        None => rooms::receipts(snapshot, room, viewer)?,
                    }
                }
            };
            if let Some(told) = known.rooms.get_mut(room) {
                told.receipts = Some(snapshot.position());
            }
            let (content, rest) = receipts.split(snapshot)?;
            if !rest.is_empty() {
                untold.insert(room, rest);
            }
            if let Some(content) = content
                && let Some(room_id) = model::room_id(snapshot, room)?
            {
                rooms.field(&room_id, &basic_event("m.receipt", &content));
            }
        }
        untold.retain(|room, _| known.rooms.has(*room));
        known.untold_receipts = untold;
        Ok(in_rooms(rooms))
    }

    /// Whose receipts moved in a room; `None` if too much happened.
    fn moved_since(
        &self,
        asking: &Asking<'_>,
        room: RoomSerial,
        since: Position,
    ) -> Result<Option<Vec<MovedReceipt>>, SyncError> {
        let snapshot = asking.snapshot;
        if asking.user.has_read_privately(room, since) {
            // Private ones wake their user alone: the room's news may be from before them.
            return moved_receipts(snapshot, room, since);
        }
        match self.inner.rooms.news(snapshot, room, since)? {
            Some(news) => Ok(Some(news.receipts().cloned().collect())),
            None => moved_receipts(snapshot, room, since),
        }
    }

    /// `{"rooms":{…}}` with who types in the rooms of `scope`, where that changed.
    fn told_typing(
        &self,
        asking: &Asking<'_>,
        scope: &BTreeSet<RoomSerial>,
        known: &mut Known,
    ) -> Result<Composer, SyncError> {
        let mut rooms = Composer::object();
        for room in scope.iter().copied() {
            let Some(told) = joined(known, room) else {
                continue;
            };
            let ignored = &asking.user.ignored;
            let (users, sequence) = self.inner.rooms.typing_for(room, ignored);
            let is_known = told
                .typing
                .map_or(users.is_empty(), |told| sequence <= told);
            if is_known {
                continue;
            }
            if let Some(told) = known.rooms.get_mut(room) {
                told.typing = Some(sequence);
            }
            if let Some(room_id) = model::room_id(asking.snapshot, room)? {
                rooms.field(&room_id, &typing_event(&users));
            }
        }
        Ok(in_rooms(rooms))
    }
}

/// What the client knows of a room that the user is in.
fn joined(known: &Known, room: RoomSerial) -> Option<&KnownRoom> {
    let told = known.rooms.get(room).map(Arc::as_ref);
    told.filter(|told| told.membership == Membership::Join)
}

fn in_rooms(rooms: Composer) -> Composer {
    let mut part = Composer::object();
    if !rooms.is_empty() {
        part.field("rooms", &rooms.finish());
    }
    part
}
