//! `cairn room` and `cairn moderation`.

use clap::{Args, Subcommand};

use super::{Why, records::parse_time};

/// What is done with rooms. A room is meant by its id or an alias of it.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomVerb {
    /// List rooms.
    List {
        /// Only those with this in their name, main alias or id.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Pass over so many.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        from: u32,
    },
    /// Show one room and who is in it.
    Show {
        /// The room.
        room: String,
    },
    /// List the rooms that nobody administers who is in them.
    Abandoned,
    /// Close a room: nobody of this server comes in or says anything there any more.
    Close {
        /// The room.
        room: String,
        /// Also have everybody of this server go out.
        #[arg(long)]
        empty: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Open a closed room again.
    Reopen {
        /// The room.
        room: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let nobody of this server come into a room, known here or not.
    Block {
        /// The room's id.
        room: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let people come into a blocked room again.
    Unblock {
        /// The room's id.
        room: String,
        #[command(flatten)]
        why: Why,
    },
    /// Have everybody of this server go out of a room, and remove everything of it but the register and the audit trail.
    Delete {
        /// The room.
        room: String,
        /// The room's id or alias once more: nothing of it comes back.
        #[arg(long, value_name = "ROOM")]
        confirm: String,
        /// Let nobody of this server come into it again.
        #[arg(long)]
        block: bool,
        /// Also delete the files that its events name, and those that were uploaded for it.
        #[arg(long)]
        with_files: bool,
        /// Have this user make a room for those who go out, and say there what has happened.
        #[arg(long, value_name = "USER")]
        new_room_by: Option<String>,
        /// What is said there.
        #[arg(long, value_name = "TEXT", requires = "new_room_by")]
        message: Option<String>,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Remove what was said in a room before an event or a time; state stays.
    Shrink(Shrink),
    /// Say how far what was begun with rooms is.
    PurgeStatus {
        /// The id that was told when it was begun; everything, if left out.
        id: Option<String>,
    },
    /// Give a room that nobody administers any more to a user of this server; a frozen one is thawed.
    HandOver {
        /// The room.
        room: String,
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Bring a user of this server into a room.
    Add {
        /// The room.
        room: String,
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take a user of this server out of a room.
    Remove {
        /// The room.
        room: String,
        /// The name before the colon of the user's id, or the whole id.
        user: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give a room a protective marking of the configuration; without one, show which there are.
    Mark {
        /// The room.
        room: Option<String>,
        /// The marking.
        #[arg(requires = "room")]
        marking: Option<String>,
        /// Have those go out whom the marking keeps out.
        #[arg(long)]
        put_out: bool,
        /// Allow a lower marking than the room has; needs a reason.
        #[arg(long)]
        lower: bool,
        #[command(flatten)]
        why: Why,
    },
}

/// What is removed of a room's history.
#[derive(Debug, Args)]
pub(crate) struct Shrink {
    /// The room.
    pub(crate) room: String,
    /// What was said before this event.
    #[arg(
        long,
        value_name = "EVENT_ID",
        required_unless_present = "before",
        conflicts_with = "before"
    )]
    pub(crate) before_event: Option<String>,
    /// What was said before this time (UTC): 2026-03-03 or 2026-03-03T14:05.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) before: Option<u64>,
    /// Also what people of this server have said, which nobody else may have.
    #[arg(long)]
    pub(crate) with_local: bool,
    /// Do not wait until it is done.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

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
