//! What is bundled with an event as `m.relations` (client-server API, "Aggregations of
//! child events").

use std::{borrow::Cow, cell::OnceCell, collections::HashSet};

use model::{BundleRecord, Bundled, BundledRecord, UserSerial, tables};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Read, StoreError};

use super::{Content, Relation, part};
use crate::{
    Access, ClientEvent, EventReader, ReadError, Visibility, form::quoted, ignored::ignored_users,
};

/// The most edits of an event that are looked at for the newest.
pub(super) const MAX_EDITS: usize = 100;
/// The most references that are bundled with an event; the newest.
const MAX_REFERENCES: usize = 100;
/// The most replies of a thread that are looked at for one that may be shown.
const MAX_REPLIES: usize = 1000;

/// What one reader knows of its room's relations; read when it is needed first.
#[derive(Default)]
pub(crate) struct NewestBundled {
    newest: OnceCell<u64>,
    ignored: OnceCell<HashSet<UserSerial>>,
}

/// Of an event what decides about its bundle.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    sender: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Content<'a>,
}

/// Whether threads are bundled too: not with what is bundled itself.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Outer,
    Inner,
}

impl NewestBundled {
    /// The newest commit that brought the reader's room a bundled relation.
    fn newest<R: Read>(&self, reader: &EventReader<'_, R>) -> Result<u64, StoreError> {
        if let Some(newest) = self.newest.get() {
            return Ok(*newest);
        }
        let newest = reader
            .view
            .get(&tables::NEWEST_BUNDLED_BY_ROOM, &reader.room)?
            .map_or(0, |position| position.0);
        Ok(*self.newest.get_or_init(|| newest))
    }

    /// Whom the reader's viewer ignores.
    pub(super) fn ignored<R: Read>(
        &self,
        reader: &EventReader<'_, R>,
    ) -> Result<&HashSet<UserSerial>, StoreError> {
        if let Some(ignored) = self.ignored.get() {
            return Ok(ignored);
        }
        let ignored = ignored_users(reader.view, reader.viewer().user)?;
        Ok(self.ignored.get_or_init(|| ignored))
    }
}

/// Puts what is bundled with `event` into its JSON for the reader's viewer. An event
/// of a room without relations costs nothing, one that came after them costs nothing,
/// every other one point read.
pub(crate) fn bundle<R: Read>(
    reader: &EventReader<'_, R>,
    event: &ClientEvent,
    with_room_id: bool,
    json: String,
) -> Result<String, ReadError> {
    if event.meta.position > reader.newest_bundled.newest(reader)? {
        return Ok(json);
    }
    bundle_at(reader, event, with_room_id, json, Level::Outer)
}

fn bundle_at<R: Read>(
    reader: &EventReader<'_, R>,
    event: &ClientEvent,
    with_room_id: bool,
    json: String,
    level: Level,
) -> Result<String, ReadError> {
    let key = (reader.room, event.stored.event_id.clone());
    let Some(known) = reader.view.get(&tables::BUNDLE_BY_TARGET, &key)? else {
        return Ok(json);
    };
    let Ok(header) = serde_json::from_slice::<Header<'_>>(&event.stored.json) else {
        return Ok(json);
    };
    // State events have no bundles.
    if header.state_key.is_some() {
        return Ok(json);
    }
    let parent = Parent {
        reader,
        visibility: Visibility::new(reader)?,
        ignored: reader.newest_bundled.ignored(reader)?,
        event,
        header,
        with_room_id,
    };
    let mut parts = Vec::new();
    if known.edits > 0
        && let Some(edit) = parent.edit()?
    {
        parts.push(format!("\"m.replace\":{edit}"));
    }
    if known.replies > 0
        && level == Level::Outer
        && let Some(thread) = parent.thread(&known)?
    {
        parts.push(format!("\"m.thread\":{thread}"));
    }
    if known.references > 0
        && let Some(references) = parent.references()?
    {
        parts.push(format!("\"m.reference\":{references}"));
    }
    Ok(insert(json, &parts))
}

/// Adds the parts to the event's `unsigned`, which is its last field and never empty.
fn insert(mut json: String, parts: &[String]) -> String {
    if !parts.is_empty() && json.ends_with("}}") {
        json.truncate(json.len() - 2);
        json.push_str(",\"m.relations\":{");
        json.push_str(&parts.join(","));
        json.push_str("}}}");
    }
    json
}

/// The newest of some edits, of those that `load` lets count (client-server API,
/// "Server-side aggregation of m.replace relationships").
pub(super) fn newest_of(
    edits: &mut [BundledRecord],
    load: impl Fn(&BundledRecord) -> Result<Option<ClientEvent>, ReadError>,
) -> Result<Option<ClientEvent>, ReadError> {
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.sent_at));
    let mut newest: Option<(u64, ClientEvent)> = None;
    for edit in edits.iter() {
        if newest.as_ref().is_some_and(|(at, _)| edit.sent_at < *at) {
            break;
        }
        let Some(event) = load(edit)? else {
            continue;
        };
        let is_newer =
            |(_, other): &(_, ClientEvent)| event.stored.event_id > other.stored.event_id;
        if newest.as_ref().is_none_or(is_newer) {
            newest = Some((edit.sent_at, event));
        }
    }
    Ok(newest.map(|(_, edit)| edit))
}

/// An event that has children, and who looks at it.
struct Parent<'a, R> {
    reader: &'a EventReader<'a, R>,
    visibility: Visibility<'a, R>,
    ignored: &'a HashSet<UserSerial>,
    event: &'a ClientEvent,
    header: Header<'a>,
    with_room_id: bool,
}

impl<R: Read> Parent<'_, R> {
    /// The newest children of one kind, newest first.
    fn children(
        &self,
        kind: Bundled,
        most: usize,
    ) -> impl Iterator<Item = Result<BundledRecord, StoreError>> {
        let prefix = (self.reader.room, self.event.stored.event_id.clone(), kind);
        self.reader
            .view
            .scan_back(&tables::BUNDLED_BY_TARGET, &prefix, None)
            .take(most)
            .map(|row| row.map(|(_, record)| record))
    }

    /// The child, if the viewer may see it and does not ignore its sender.
    fn shown(&self, record: &BundledRecord) -> Result<Option<ClientEvent>, ReadError> {
        if self.ignored.contains(&record.sender) {
            return Ok(None);
        }
        match self.reader.load(record.event)? {
            Some(child) if self.visibility.allows(&child)? => Ok(Some(child)),
            _ => Ok(None),
        }
    }

    /// The newest valid edit (client-server API, "Validity of replacement events").
    fn edit(&self) -> Result<Option<String>, ReadError> {
        let relation: Relation = part(self.header.content.relates_to);
        let redactions = &tables::REDACTION_BY_EVENT;
        if relation.is_edit() || self.reader.view.contains(redactions, &self.event.serial)? {
            return Ok(None);
        }
        let sender = self.header.sender.as_ref().to_owned();
        let Some(sender) = self.reader.view.get(&tables::USER_BY_ID, &sender)? else {
            return Ok(None);
        };
        let mut edits = self
            .children(Bundled::Replace(sender), MAX_EDITS)
            .collect::<Result<Vec<_>, _>>()?;
        let newest = newest_of(&mut edits, |edit| {
            Ok(self.shown(edit)?.filter(|event| self.is_same_type(event)))
        })?;
        newest
            .map(|edit| self.reader.json_alone(&edit, self.with_room_id))
            .transpose()
    }

    fn is_same_type(&self, child: &ClientEvent) -> bool {
        serde_json::from_slice::<Header<'_>>(&child.stored.json)
            .is_ok_and(|header| header.event_type == self.header.event_type)
    }

    /// The thread of which the event is the root.
    fn thread(&self, known: &BundleRecord) -> Result<Option<String>, ReadError> {
        let mut latest = None;
        for reply in self.children(Bundled::Thread, MAX_REPLIES) {
            latest = self.shown(&reply?)?;
            if latest.is_some() {
                break;
            }
        }
        let Some(latest) = latest else {
            return Ok(None);
        };
        let json = self.reader.json_alone(&latest, self.with_room_id)?;
        let json = bundle_at(self.reader, &latest, self.with_room_id, json, Level::Inner)?;
        Ok(Some(format!(
            "{{\"latest_event\":{json},\"count\":{},\"current_user_participated\":{}}}",
            self.count(known)?,
            self.participated()?
        )))
    }

    /// How many replies there are: for members, all but those of whom they ignore; for
    /// others, those that they may see.
    fn count(&self, known: &BundleRecord) -> Result<u64, ReadError> {
        let view = self.reader.view;
        let viewer = self.reader.viewer().user;
        if matches!(
            Access::of(view, self.reader.room, viewer)?,
            Access::Joined(_)
        ) {
            let mut count = known.replies;
            for user in self.ignored {
                let key = (self.reader.room, self.event.stored.event_id.clone(), *user);
                let replies = view.get(&tables::REPLIES_BY_SENDER, &key)?;
                count = count.saturating_sub(replies.unwrap_or_default());
            }
            return Ok(count);
        }
        let mut count = 0;
        for reply in self.children(Bundled::Thread, MAX_REPLIES) {
            count += u64::from(self.shown(&reply?)?.is_some());
        }
        Ok(count)
    }

    fn participated(&self) -> Result<bool, StoreError> {
        if self.header.sender == self.reader.viewer_id() {
            return Ok(true);
        }
        has_replied(self.reader, &self.event.stored.event_id)
    }

    /// The events that refer to the event, oldest first.
    fn references(&self) -> Result<Option<String>, ReadError> {
        let mut chunk = Vec::new();
        for reference in self.children(Bundled::Reference, MAX_REFERENCES) {
            if let Some(event) = self.shown(&reference?)? {
                let event_id = quoted(&event.stored.event_id);
                chunk.push(format!("{{\"event_id\":{event_id}}}"));
            }
        }
        chunk.reverse();
        let is_empty = chunk.is_empty();
        Ok((!is_empty).then(|| format!("{{\"chunk\":[{}]}}", chunk.join(","))))
    }
}

/// Whether the reader's viewer has spoken in the thread with this root.
pub(super) fn has_replied<R: Read>(
    reader: &EventReader<'_, R>,
    root: &str,
) -> Result<bool, StoreError> {
    let key = (reader.room, root.to_owned(), reader.viewer().user);
    reader.view.contains(&tables::REPLIES_BY_SENDER, &key)
}
