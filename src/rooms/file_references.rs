//! Which files the events of rooms name, for administrators.
//!
//! What encrypted messages name nobody can see here; their clients may say when they upload a
//! file for which room it is.

use std::collections::BTreeSet;

use model::{RoomSerial, tables};
use ruma_common::RoomId;
use serde::Deserialize;
use store::{Read, Snapshot, StoreError};

use crate::{ReadError, Rooms, room_serial};

/// How many events are looked at in one read.
const PAGE: usize = 2_000;
/// How many rooms are looked at in one read.
const ROOMS: usize = 2_000;
const AVATAR: &str = "m.room.avatar";

/// Some files that a room's events name, and the place of the next event, if there is one: its
/// depth and what orders events of equal depth.
type NamedFiles = (Vec<String>, Option<(u64, u64)>);

/// Where an event names files.
#[derive(Deserialize)]
struct Naming {
    #[serde(default)]
    content: Content,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    url: Text,
    file: File,
    info: Info,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    thumbnail_url: Text,
    thumbnail_file: File,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: Text,
}

/// A text, or something else that does not matter.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Default for Text {
    fn default() -> Self {
        Self::Other(serde::de::IgnoredAny)
    }
}

/// The files that an event names, as `mxc://` URIs.
fn named(json: &[u8]) -> impl Iterator<Item = String> {
    let naming = serde_json::from_slice::<Naming>(json).ok();
    let content = naming.map(|naming| naming.content).unwrap_or_default();
    let found = [
        content.url,
        content.file.url,
        content.info.thumbnail_url,
        content.info.thumbnail_file.url,
    ];
    found.into_iter().filter_map(|text| match text {
        Text::Text(text) if text.starts_with("mxc://") => Some(text),
        _ => None,
    })
}

impl Rooms {
    /// The serial of a room, for an administrator, and the files that its events name, redacted
    /// ones too, as `mxc://` URIs. Reads the whole room.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] for an unknown room.
    pub async fn files_named_in(
        &self,
        room_id: &RoomId,
    ) -> Result<(RoomSerial, Vec<String>), ReadError> {
        let name = room_id.to_string();
        let find = move |view: &Snapshot| room_serial(view, &name);
        let room: Option<RoomSerial> = self.inner.store.read(find).await?;
        let unknown = || ReadError::NotFound(format!("{room_id} is not known here"));
        let room = room.ok_or_else(unknown)?;
        let (mut files, mut after) = (BTreeSet::new(), (0, 0));
        loop {
            let read = move |view: &Snapshot| read_page(view, room, after);
            let (found, next): NamedFiles = self.inner.store.read_long(read).await?;
            files.extend(found);
            match next {
                Some(next) => after = next,
                None => return Ok((room, files.into_iter().collect())),
            }
        }
    }

    /// The files that are a room's picture now, as `mxc://` URIs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn avatars(&self) -> Result<BTreeSet<String>, StoreError> {
        let (mut files, mut from) = (BTreeSet::new(), RoomSerial(0));
        loop {
            let read = move |view: &Snapshot| {
                let (mut found, mut last) = (Vec::new(), None);
                for row in view
                    .scan_from(&tables::ROOM_BY_SERIAL, &(), &from)
                    .take(ROOMS)
                {
                    let (room, _) = row?;
                    last = Some(room);
                    let key = (room, AVATAR.to_owned(), String::new());
                    if let Some(event) = view.get(&tables::STATE_BY_ROOM, &key)?
                        && let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &event)?
                    {
                        found.extend(named(&stored.json));
                    }
                }
                Ok::<_, StoreError>((found, last))
            };
            let (found, last): (Vec<String>, Option<RoomSerial>) =
                self.inner.store.read_long(read).await?;
            files.extend(found);
            match last {
                Some(RoomSerial(last)) if last < u64::MAX => from = RoomSerial(last + 1),
                _ => return Ok(files),
            }
        }
    }
}

/// The files that some events of a room name, and where the next ones begin, if there are any.
fn read_page(
    view: &Snapshot,
    room: RoomSerial,
    (depth, tie_break): (u64, u64),
) -> Result<NamedFiles, StoreError> {
    let (mut found, mut count, mut last) = (Vec::new(), 0, None);
    let from = (room, depth, tie_break);
    for row in view
        .scan_from(&tables::EVENT_BY_PLACE, &(room,), &from)
        .take(PAGE)
    {
        let ((_, depth, tie_break), event) = row?;
        (count, last) = (count + 1, Some((depth, tie_break)));
        if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &event)? {
            found.extend(named(&stored.json));
        }
    }
    let next =
        last.filter(|_| count == PAGE)
            .map(|(depth, tie_break)| match tie_break.checked_add(1) {
                Some(tie_break) => (depth, tie_break),
                None => (depth + 1, 0),
            });
    Ok((found, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_in_four_places() {
        for (content, expected) in [
            (r#"{"url":"mxc://a/b"}"#, &["mxc://a/b"][..]),
            (
                r#"{"url":"mxc://a/b","info":{"thumbnail_url":"mxc://a/c","w":5}}"#,
                &["mxc://a/b", "mxc://a/c"],
            ),
            (
                r#"{"file":{"url":"mxc://a/d","iv":"x"},"info":{"thumbnail_file":{"url":"mxc://a/e"}}}"#,
                &["mxc://a/d", "mxc://a/e"],
            ),
            (r#"{"url":"https://a/b"}"#, &[]),
            (r#"{"url":5,"body":"mxc://a/b"}"#, &[]),
            (r#"{}"#, &[]),
        ] {
            let json = format!(r#"{{"type":"m.room.message","content":{content}}}"#);
            let found: Vec<String> = named(json.as_bytes()).collect();
            assert_eq!(found, expected, "{content}");
        }
        assert_eq!(named(b"nonsense").count(), 0);
    }
}
