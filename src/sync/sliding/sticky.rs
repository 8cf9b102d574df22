//! Sticky events as an extension of sliding syncs (MSC4354, under its unstable prefix).

use std::collections::{BTreeMap, HashMap};

use model::{EventSerial, Membership, RoomSerial, room_scope};
use rooms::{EventReader, sticky_since};
use serde::{Deserialize, Deserializer};
use store::Position;

use super::Asking;
use crate::{
    Sync, SyncError,
    json::{Composer, quoted, values},
    token::StickyToken,
};

/// The extension of sliding syncs.
const EXTENSION: &str = "org.matrix.msc4354.sticky_events";
/// How many events one answer of the extension tells, unless fewer are asked for.
const MOST: usize = 100;

/// Whether and how sticky events are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StickyRequest {
    /// Whether they are.
    #[serde(default, deserialize_with = "or_false")]
    pub enabled: bool,
    /// At most so many at once.
    #[serde(default)]
    pub limit: Option<u64>,
    /// The `next_batch` of the answer before.
    #[serde(default)]
    pub since: Option<String>,
}

fn or_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Sync {
    /// The extension: sticky events of all rooms that the user is in, oldest first, but for
    /// those that timelines show which begin with this answer. Returns whether there are
    /// any.
    pub(crate) fn extend_sticky(
        &self,
        asking: &Asking<'_>,
        request: &StickyRequest,
        shown: &HashMap<RoomSerial, Vec<EventSerial>>,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(MOST).clamp(1, MOST);
        let epoch = self.inner.store.epoch();
        let since = request.since.as_deref().and_then(StickyToken::parse);
        let since = since.filter(|since| since.epoch == epoch);
        let since = since.map(|since| since.position);
        let (mut found, position) = self.sticky_of_all(asking, since, limit)?;
        for (room, serials) in &mut found {
            if let Some(shown) = shown.get(room) {
                serials.retain(|serial| !shown.contains(serial));
            }
        }
        let mut rooms = Composer::object();
        for (room, serials) in found {
            let told = self.reader_of(asking, room)?.sticky_json(&serials)?;
            if !told.is_empty()
                && let Some(room_id) = model::room_id(asking.snapshot, room)?
            {
                let part = format!("{{\"events\":{}}}", values(&told));
                rooms.field(&room_id, &part);
            }
        }
        if rooms.is_empty() {
            return Ok(false);
        }
        let next = StickyToken { epoch, position };
        let mut part = Composer::object();
        part.field("rooms", &rooms.finish())
            .field("next_batch", &quoted(&next.to_string()));
        answer.field(EXTENSION, &part.finish());
        Ok(true)
    }

    /// The first events that are sticky and came since, by room, and the commit up to which
    /// there are no others.
    fn sticky_of_all(
        &self,
        asking: &Asking<'_>,
        since: Option<Position>,
        limit: usize,
    ) -> Result<(BTreeMap<RoomSerial, Vec<EventSerial>>, Position), SyncError> {
        let now = self.inner.clock.now().0;
        let mut all = Vec::new();
        for (room, record) in asking.user.memberships.iter() {
            let may_have = since.is_none_or(|since| {
                record.last_join > since.0
                    || self.inner.store.changed_since(room_scope(*room), since)
            });
            if record.membership != Membership::Join || !may_have {
                continue;
            }
            // Whoever has just joined is told what came before.
            let since = since.filter(|since| record.last_join <= since.0);
            let sticky = sticky_since(asking.snapshot, *room, since, now)?;
            // What came before the joining counts as come with it, or it would be told only
            // to those who ask from the beginning.
            let at = |position: Position| match since {
                Some(_) => position,
                None => Position(position.0.max(record.last_join)),
            };
            all.extend(
                sticky
                    .into_iter()
                    .map(|(when, event)| (at(when), *room, event)),
            );
        }
        all.sort_unstable();
        let mut position = asking.snapshot.position();
        if all.len() > limit {
            // A commit is told whole: the token says which.
            let last = all[limit - 1].0;
            all.retain(|(when, ..)| *when <= last);
            position = last;
        }
        let mut found: BTreeMap<RoomSerial, Vec<EventSerial>> = BTreeMap::new();
        for (_, room, event) in all {
            found.entry(room).or_default().push(event);
        }
        Ok((found, position))
    }

    fn reader_of<'a>(
        &'a self,
        asking: &Asking<'a>,
        room: RoomSerial,
    ) -> Result<EventReader<'a, store::Snapshot>, SyncError> {
        self.reader(asking, room)
    }
}
