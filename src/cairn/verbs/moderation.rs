//! `cairn moderation`: what somebody has said, and whom this server does not want.

use actions::RoomWish;

use super::{Answer, Failure, room};
use crate::command_line::{Common, ListsVerb, ModerationVerb};

/// Does a verb of `cairn moderation`.
pub(super) fn run(verb: ModerationVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        ModerationVerb::Redact {
            user,
            room,
            no_wait,
            why,
        } => {
            let wish = RoomWish::Redact { user, room };
            room::done(wish, Some(why), !no_wait, common)
        }
        ModerationVerb::Lists(ListsVerb::Subscribe { room, via, why }) => {
            room::done(RoomWish::Heed { room, via }, Some(why), false, common)
        }
        ModerationVerb::Lists(ListsVerb::Unsubscribe { room, why }) => {
            room::done(RoomWish::Ignore { room }, Some(why), false, common)
        }
        ModerationVerb::Lists(ListsVerb::Show) => {
            room::done(RoomWish::BanLists, None, false, common)
        }
    }
}
