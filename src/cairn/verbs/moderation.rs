//! `cairn moderation`: what somebody has said, and whom this server does not want.

use actions::RoomWish;
use clap::Subcommand;

use super::{Answer, Failure, room};
use crate::command_line::{Common, Why};

/// What moderators do.
#[derive(Debug, Subcommand)]
pub(crate) enum ModerationVerb {
    /// Redact everything that somebody has said, in all rooms or in one.
    Redact {
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        /// Only in this room.
        #[arg(long, value_name = "ROOM")]
        room: Option<String>,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Ban lists: rooms that name people, rooms and servers that are not wanted.
    #[command(subcommand)]
    Lists(ListsVerb),
}

/// Which ban lists this server heeds.
#[derive(Debug, Subcommand)]
pub(crate) enum ListsVerb {
    /// Heed a ban list: whom it names cannot join, invite or knock, and named servers are not spoken to.
    Subscribe {
        /// The room of the list: its alias, or its id with a server that is in it.
        room: String,
        /// A server that is in the room. May be repeated.
        #[arg(long, value_name = "NAME")]
        via: Vec<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Do not heed a ban list any more.
    Unsubscribe {
        /// The room of the list.
        room: String,
        #[command(flatten)]
        why: Why,
    },
    /// Show the ban lists that are heeded, with their rules.
    Show,
}

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
