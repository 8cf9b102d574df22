//! Which rooms two people share (client-server API, "Mutual rooms").

use model::{Membership, RoomSerial, tables};
use ruma_common::UserId;
use store::Read;

use crate::{ReadError, Viewer, membership::joined, user_serial};

/// Rooms of one page.
const PAGE: usize = 100;

/// A page of the rooms that two people share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MutualRooms {
    /// Their ids.
    pub room_ids: Vec<String>,
    /// How many there are in all.
    pub count: usize,
    /// Where the next page begins.
    pub next_batch: Option<String>,
}

/// The rooms that both the viewer and another user are in.
///
/// # Errors
/// [`ReadError::Invalid`] for the viewer themself and for a token that is none.
pub fn mutual_rooms(
    view: &impl Read,
    viewer: Viewer,
    other: &UserId,
    from: Option<&str>,
) -> Result<MutualRooms, ReadError> {
    let from = match from {
        None => RoomSerial(0),
        Some(token) => parse(token)?,
    };
    let Some(other) = user_serial(view, other.as_str())? else {
        return Ok(MutualRooms::default());
    };
    if other == viewer.user {
        let text = "you share all your rooms with yourself";
        return Err(ReadError::Invalid(text.to_owned()));
    }
    let mut found = MutualRooms::default();
    for room in joined(view, viewer.user)? {
        let theirs = view.get(&tables::MEMBERSHIP_BY_USER, &(other, room))?;
        if theirs.is_none_or(|theirs| theirs.membership != Membership::Join) {
            continue;
        }
        found.count += 1;
        if room < from || found.next_batch.is_some() {
            continue;
        }
        if found.room_ids.len() == PAGE {
            found.next_batch = Some(format!("m{}", room.0));
        } else {
            found.room_ids.extend(model::room_id(view, room)?);
        }
    }
    Ok(found)
}

fn parse(token: &str) -> Result<RoomSerial, ReadError> {
    let number = token.strip_prefix('m').and_then(|text| text.parse().ok());
    let invalid = || ReadError::Invalid("this is no token of such a list".to_owned());
    number.map(RoomSerial).ok_or_else(invalid)
}
