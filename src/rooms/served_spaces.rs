//! The rooms of a space, as another server is given them (server-server API, "Spaces").

use model::tables;
use ruma_common::{RoomId, ServerName};
use serde_json::Value;
use store::Read;

use crate::{
    ReadError, Rooms,
    hierarchy::{Child, children, with_children},
    room_record, room_serial,
    summary::Told,
};

/// The most children that are told of.
const MOST_CHILDREN: usize = 100;

/// A part of a space's tree, as another server is given it.
#[derive(Clone, Debug, Default)]
pub struct ServedHierarchy {
    /// The space as JSON, with its children's events.
    pub room: String,
    /// Its children of whom the server may know, each as JSON.
    pub children: Vec<String>,
    /// The ids of those of whom it may not.
    pub inaccessible: Vec<String>,
}

impl Rooms {
    /// A space and its children, as another server is given them: `GET
    /// /_matrix/federation/v1/hierarchy`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if the room is not known here, or the server may not know of
    /// it.
    pub fn served_hierarchy(
        &self,
        view: &impl Read,
        room_id: &RoomId,
        server: &ServerName,
        suggested_only: bool,
    ) -> Result<ServedHierarchy, ReadError> {
        let unknown = || ReadError::NotFound("the room is not known here".to_owned());
        let found = served_entry(view, room_id.as_str(), server, Some(suggested_only))?;
        let (room, children) = found.flatten().ok_or_else(unknown)?;
        let mut answer = ServedHierarchy {
            room,
            ..ServedHierarchy::default()
        };
        for child in children.into_iter().take(MOST_CHILDREN) {
            match served_entry(view, &child.room_id, server, None)? {
                Some(Some((json, _))) => answer.children.push(json),
                Some(None) => answer.inaccessible.push(child.room_id),
                None => {}
            }
        }
        Ok(answer)
    }
}

/// A room's part of the answer, and its children.
type Entry = (String, Vec<Child>);

/// A room as another server is given it, with its children if they are wanted, only those
/// that are suggested or all. None if the room is not known here, and none within if the
/// server may not know of it.
fn served_entry(
    view: &impl Read,
    room_id: &str,
    server: &ServerName,
    suggested_only: Option<bool>,
) -> Result<Option<Option<Entry>>, ReadError> {
    let room = match room_serial(view, room_id)? {
        Some(room) if view.contains(&tables::HEAD_BY_ROOM, &room)? => room,
        _ => return Ok(None),
    };
    let (_, version) = room_record(view, room)?;
    let told = Told::read(view, room, version)?;
    if !told.is_accessible_to_server(view, server)? {
        return Ok(Some(None));
    }
    let children = match suggested_only {
        Some(suggested_only) if told.is_space() => children(view, room, suggested_only)?,
        _ => Vec::new(),
    };
    let summary = Value::Object(told.summary(view, room_id)?).to_string();
    if suggested_only.is_none() {
        return Ok(Some(Some((summary, children))));
    }
    let json = with_children(&summary, &children);
    Ok(Some(Some((json, children))))
}
