//! How clients are told of threads that their user follows (MSC4308).

use std::collections::BTreeMap;

use model::RoomSerial;
use rooms::SubscriptionsPage;
use store::{Position, Snapshot, StoreError};

use crate::{
    json::{Composer, quoted},
    token::{SlidingToken, SubscriptionsToken},
};

/// `subscribed` and `unsubscribed` of an answer, each as JSON where there is any.
///
/// # Errors
/// If the database fails.
pub fn subscriptions_json(
    view: &Snapshot,
    page: &SubscriptionsPage,
) -> Result<Vec<(&'static str, String)>, StoreError> {
    let mut fields = Vec::new();
    for (name, subscribed) in [("subscribed", true), ("unsubscribed", false)] {
        let mut rooms: BTreeMap<RoomSerial, Composer> = BTreeMap::new();
        for one in &page.chunk {
            let record = &one.record;
            if record.subscribed != subscribed {
                continue;
            }
            let json = if subscribed {
                format!(
                    "{{\"automatic\":{},\"bump_stamp\":{}}}",
                    record.automatic, record.position
                )
            } else {
                format!("{{\"bump_stamp\":{}}}", record.position)
            };
            let room = rooms.entry(one.room).or_insert_with(Composer::object);
            room.field(&one.root, &json);
        }
        let mut part = Composer::object();
        for (room, threads) in rooms {
            if let Some(room_id) = model::room_id(view, room)? {
                part.field(&room_id, &threads.finish());
            }
        }
        if !part.is_empty() {
            fields.push((name, part.finish()));
        }
    }
    Ok(fields)
}

/// The token from which older changes are read, as JSON.
pub fn subscriptions_end(epoch: u64, position: Position) -> String {
    quoted(&SubscriptionsToken { epoch, position }.to_string())
}

/// The commit that a token means, be it one of a page or one of a sliding sync; `None` for
/// text that is neither.
pub fn subscriptions_position(text: &str, epoch: u64) -> Option<Position> {
    let (of, position) = match SubscriptionsToken::parse(text) {
        Some(token) => (token.epoch, token.position),
        None => {
            let token = SlidingToken::parse(text)?;
            (token.epoch, token.position)
        }
    };
    (of == epoch).then_some(position)
}
