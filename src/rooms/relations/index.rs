//! The rows of relations: put when an event enters its room, taken away when it is
//! redacted.

use std::collections::HashMap;

use graph::Event;
use model::{
    BundleRecord, Bundled, BundledRecord, EventSerial, RelationRecord, RoomSerial, UserSerial,
    tables,
};
use serde_json::value::RawValue;
use store::{Batch, Latest, Position, Read, StoreError};

use super::{Content, REFERENCE, REPLACE, Relation, THREAD, part, relates};

/// The longest relation type and target id that are indexed, in bytes.
const MAX_KEY: usize = 255;

/// Where an event stands in the indexes of relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationKeys {
    event: EventSerial,
    rel_type: String,
    /// The target's id.
    pub(crate) target: String,
    event_type: String,
    /// Depth and tie-break.
    place: (u64, u64),
    /// In ms since the Unix epoch.
    sent_at: u64,
    bundled: Kind,
}

/// How a relation is bundled with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Not,
    Replace,
    Thread,
    Reference,
}

impl Kind {
    fn of(event: &Event, rel_type: &str, new_content: Option<&RawValue>) -> Self {
        let is_message = event.state_key().is_none();
        match rel_type {
            // Of an encrypted edit only the reader knows what is in it.
            REPLACE
                if is_message
                    && (event.event_type() == "m.room.encrypted"
                        || new_content.is_some_and(|new| new.get().starts_with('{'))) =>
            {
                Self::Replace
            }
            THREAD if is_message => Self::Thread,
            REFERENCE => Self::Reference,
            _ => Self::Not,
        }
    }

    fn key(self, sender: UserSerial) -> Option<Bundled> {
        match self {
            Self::Not => None,
            Self::Replace => Some(Bundled::Replace(sender)),
            Self::Thread => Some(Bundled::Thread),
            Self::Reference => Some(Bundled::Reference),
        }
    }
}

/// Counts that one commit has changed so far.
#[derive(Default)]
pub(crate) struct Tallies {
    bundles: HashMap<String, BundleRecord>,
    replies: HashMap<(String, UserSerial), u64>,
}

impl Tallies {
    fn bundle(
        &self,
        latest: &Latest,
        room: RoomSerial,
        target: &str,
    ) -> Result<BundleRecord, StoreError> {
        match self.bundles.get(target) {
            Some(record) => Ok(record.clone()),
            None => Ok(latest
                .get(&tables::BUNDLE_BY_TARGET, &(room, target.to_owned()))?
                .unwrap_or_default()),
        }
    }

    fn set_bundle(
        &mut self,
        batch: &mut Batch,
        room: RoomSerial,
        target: &str,
        record: BundleRecord,
    ) {
        let key = (room, target.to_owned());
        if record.is_empty() {
            batch.delete(&tables::BUNDLE_BY_TARGET, &key);
        } else {
            batch.put(&tables::BUNDLE_BY_TARGET, &key, &record);
        }
        self.bundles.insert(key.1, record);
    }

    /// Counts a sender's reply in a thread, or takes one from the count.
    fn count_reply(
        &mut self,
        latest: &Latest,
        batch: &mut Batch,
        room: RoomSerial,
        root: &str,
        sender: UserSerial,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let key = (room, root.to_owned(), sender);
        let known = (root.to_owned(), sender);
        let before = match self.replies.get(&known) {
            Some(count) => *count,
            None => latest
                .get(&tables::REPLIES_BY_SENDER, &key)?
                .unwrap_or_default(),
        };
        let after = if is_new {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        if after == 0 {
            batch.delete(&tables::REPLIES_BY_SENDER, &key);
        } else {
            batch.put(&tables::REPLIES_BY_SENDER, &key, &after);
        }
        self.replies.insert(known, after);
        Ok(())
    }
}

impl RelationKeys {
    /// Where `event` stands; none if it relates to nothing. `place` is its depth and
    /// tie-break in the timeline.
    pub(crate) fn of(event: &Event, serial: EventSerial, place: (u64, u64)) -> Option<Self> {
        if !relates(event) {
            return None;
        }
        let content: Content<'_> = serde_json::from_str(event.content().get()).ok()?;
        let relation: Relation = part(content.relates_to);
        let (rel_type, target) = relation.parts()?;
        let is_short = !rel_type.is_empty() && rel_type.len() <= MAX_KEY && target.len() <= MAX_KEY;
        is_short.then(|| Self {
            event: serial,
            bundled: Kind::of(event, &rel_type, content.new_content),
            rel_type,
            target,
            event_type: event.event_type().to_owned(),
            place,
            sent_at: event.origin_server_ts(),
        })
    }

    /// Writes the rows. Runs inside a commit's closure.
    pub(crate) fn put(
        &self,
        room: RoomSerial,
        sender: UserSerial,
        tallies: &mut Tallies,
        latest: &Latest,
        position: Position,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let record = RelationRecord {
            event: self.event,
            sender,
            rel_type: self.rel_type.clone(),
            event_type: self.event_type.clone(),
        };
        let (depth, tie_break) = self.place;
        let key = (room, self.target.clone(), depth, tie_break);
        batch.put(&tables::RELATION_BY_TARGET, &key, &record);
        let Some(kind) = self.bundled.key(sender) else {
            return Ok(());
        };
        let key = (room, self.target.clone(), kind, self.place);
        let record = BundledRecord {
            event: self.event,
            sender,
            sent_at: self.sent_at,
        };
        batch.put(&tables::BUNDLED_BY_TARGET, &key, &record);
        batch.put(&tables::NEWEST_BUNDLED_BY_ROOM, &room, &position);
        let mut bundle = tallies.bundle(latest, room, &self.target)?;
        match kind {
            Bundled::Replace(_) => bundle.edits += 1,
            Bundled::Reference => bundle.references += 1,
            Bundled::Thread => {
                bundle.replies += 1;
                tallies.count_reply(latest, batch, room, &self.target, sender, true)?;
                let newest = bundle.newest_reply.max(Some(self.place));
                self.move_thread(batch, room, bundle.newest_reply, newest);
                bundle.newest_reply = newest;
            }
        }
        tallies.set_bundle(batch, room, &self.target, bundle);
        Ok(())
    }

    /// Takes the rows away. Runs inside a commit's closure.
    pub(crate) fn delete(
        &self,
        room: RoomSerial,
        sender: UserSerial,
        tallies: &mut Tallies,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let (depth, tie_break) = self.place;
        let key = (room, self.target.clone(), depth, tie_break);
        if !latest.contains(&tables::RELATION_BY_TARGET, &key)? {
            return Ok(());
        }
        batch.delete(&tables::RELATION_BY_TARGET, &key);
        let Some(kind) = self.bundled.key(sender) else {
            return Ok(());
        };
        let key = (room, self.target.clone(), kind, self.place);
        batch.delete(&tables::BUNDLED_BY_TARGET, &key);
        let mut bundle = tallies.bundle(latest, room, &self.target)?;
        match kind {
            Bundled::Replace(_) => bundle.edits = bundle.edits.saturating_sub(1),
            Bundled::Reference => bundle.references = bundle.references.saturating_sub(1),
            Bundled::Thread => {
                bundle.replies = bundle.replies.saturating_sub(1);
                tallies.count_reply(latest, batch, room, &self.target, sender, false)?;
                let newest = if bundle.newest_reply == Some(self.place) {
                    self.newest_of_the_others(latest, room)?
                } else {
                    bundle.newest_reply
                };
                self.move_thread(batch, room, bundle.newest_reply, newest);
                bundle.newest_reply = newest;
            }
        }
        tallies.set_bundle(batch, room, &self.target, bundle);
        Ok(())
    }

    /// Where the newest reply of this event's thread stands that is not this event.
    fn newest_of_the_others(
        &self,
        latest: &Latest,
        room: RoomSerial,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let prefix = (room, self.target.clone(), Bundled::Thread);
        for row in latest
            .scan_back(&tables::BUNDLED_BY_TARGET, &prefix, None)
            .take(2)
        {
            let ((_, _, _, place), _) = row?;
            if place != self.place {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Moves this event's thread in the room's list of threads.
    fn move_thread(
        &self,
        batch: &mut Batch,
        room: RoomSerial,
        from: Option<(u64, u64)>,
        to: Option<(u64, u64)>,
    ) {
        if from == to {
            return;
        }
        if let Some((depth, tie_break)) = from {
            batch.delete(&tables::THREAD_BY_PLACE, &(room, depth, tie_break));
        }
        if let Some((depth, tie_break)) = to {
            let key = (room, depth, tie_break);
            batch.put(&tables::THREAD_BY_PLACE, &key, &self.target);
        }
    }
}
