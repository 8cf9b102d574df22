//! The verbs of `cairn room` and `cairn moderation`.

use model::RoomSerial;
use rooms::{Boundary, RoomOverview, RoomsQuery, WantedRedaction};
use ruma_common::{OwnedRoomOrAliasId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Actions, AdministrationError, Administrator, DeletedRoom, NewRoom, Right,
    room_tasks::shown_task,
};

/// How many rooms one answer lists.
const PAGE: usize = 1_000;
/// How many events of somebody are redacted in each room, if nothing else is said.
const ALL_EVENTS: u64 = u64::MAX;

/// What an administrator can ask for of rooms. The room is meant by its id or an alias of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum RoomWish {
    /// Lists rooms.
    List {
        /// What must stand in the name, the main alias or the id.
        text: Option<String>,
        /// How many are passed over.
        from: usize,
        /// How many at most.
        limit: usize,
    },
    /// Shows a room.
    Show {
        /// The room.
        room: String,
    },
    /// Lists the rooms that nobody administers who is in them.
    Abandoned {
        /// Behind which place of the list.
        after: Option<u64>,
    },
    /// Closes a room, or opens it again.
    Close {
        /// The room.
        room: String,
        /// Whether it is to be closed.
        closed: bool,
        /// Whether everybody of this server goes out.
        empty: bool,
    },
    /// Lets nobody of this server come into a room, or lets them again.
    Block {
        /// The room's id.
        room: String,
        /// Whether it is to be blocked.
        blocked: bool,
    },
    /// Begins to delete a room.
    Delete {
        /// The room.
        room: String,
        /// Whether nobody may come into it again.
        block: bool,
        /// Whether its files are deleted.
        with_files: bool,
        /// Who makes a room for those who go out.
        new_room_by: Option<String>,
        /// What is said there.
        message: Option<String>,
    },
    /// Begins to remove what was said in a room.
    Shrink {
        /// The room.
        room: String,
        /// Before which event.
        event: Option<String>,
        /// Before which time, in ms since the Unix epoch.
        time: Option<u64>,
        /// Whether what this server's people said is removed too.
        with_local: bool,
    },
    /// Begins to redact what somebody has said.
    Redact {
        /// The localpart or the whole id.
        user: String,
        /// In which room alone.
        room: Option<String>,
    },
    /// Says what was begun.
    Tasks,
    /// Says how something stands that was begun.
    Task {
        /// Its id.
        id: String,
    },
    /// Gives a room to somebody.
    HandOver {
        /// The room.
        room: String,
        /// The localpart or the whole id.
        user: String,
    },
    /// Brings somebody into a room.
    AddMember {
        /// The room.
        room: String,
        /// The localpart or the whole id.
        user: String,
    },
    /// Takes somebody out of a room.
    RemoveMember {
        /// The room.
        room: String,
        /// The localpart or the whole id.
        user: String,
    },
    /// Marks a room.
    Mark {
        /// The room.
        room: String,
        /// The marking.
        marking: String,
        /// Whether those go out whom it keeps out.
        put_out: bool,
        /// Whether it may be lower than the one that the room has.
        lower: bool,
    },
    /// Says which markings there are.
    Markings,
    /// Heeds a ban list.
    Heed {
        /// The room.
        room: String,
        /// Servers that are in it.
        via: Vec<String>,
    },
    /// Does not heed a ban list any more.
    Ignore {
        /// The room.
        room: String,
    },
    /// Shows the ban lists that are heeded.
    BanLists,
}

impl Actions {
    pub(crate) async fn administer_rooms(
        &self,
        by: &Administrator,
        wish: RoomWish,
    ) -> Result<Value, AdministrationError> {
        match wish {
            RoomWish::List { text, from, limit } => self.list_rooms(by, text, from, limit).await,
            RoomWish::Show { room } => self.show_room(by, &room).await,
            RoomWish::Abandoned { after } => self.list_abandoned(by, after).await,
            RoomWish::Close {
                room,
                closed,
                empty,
            } => self.close_or_open(by, &room, closed, empty).await,
            RoomWish::Block { room, blocked } => {
                let unknown = |_| AdministrationError::UnknownRoom(room.clone());
                let room_id = ruma_common::RoomId::parse(&room).map_err(unknown)?;
                self.block_room(by, &room_id, blocked).await?;
                Ok(json!({ "room_id": room_id, "blocked": blocked }))
            }
            RoomWish::Delete {
                room,
                block,
                with_files,
                new_room_by,
                message,
            } => {
                let new_room = self.new_room(new_room_by, message)?;
                let wanted = DeletedRoom {
                    room,
                    purge: true,
                    block,
                    with_files,
                    new_room,
                };
                Ok(json!({ "id": self.delete_room(by, wanted).await? }))
            }
            RoomWish::Shrink {
                room,
                event,
                time,
                with_local,
            } => {
                let before = match (event, time) {
                    (Some(event), _) => Boundary::Event(event),
                    (None, time) => Boundary::Time(time.unwrap_or_default()),
                };
                let id = self.shrink_history(by, &room, before, with_local).await?;
                Ok(json!({ "id": id }))
            }
            RoomWish::Redact { user, room } => self.redact_wish(by, &user, room).await,
            RoomWish::Tasks => {
                let tasks = self.room_tasks(by).await?;
                let shown: Vec<Value> = tasks.iter().map(shown_task).collect();
                Ok(json!({ "tasks": shown }))
            }
            RoomWish::Task { id } => {
                let task = self.room_task(by, &id).await?;
                Ok(shown_task(&(id, task)))
            }
            RoomWish::HandOver { room, user } => {
                let user_id = self.user(&user).await?.user_id;
                let room_id = self.hand_over_room(by, &room, &user_id).await?;
                Ok(json!({ "room_id": room_id, "user_id": user_id }))
            }
            RoomWish::AddMember { room, user } => {
                let user_id = self.user(&user).await?.user_id;
                let target = parsed_room(&room)?;
                let room_id = self.add_member(by, &target, &user_id).await?;
                Ok(json!({ "room_id": room_id, "user_id": user_id }))
            }
            RoomWish::RemoveMember { room, user } => {
                let user_id = self.user(&user).await?.user_id;
                self.remove_member(by, &room, &user_id).await?;
                Ok(json!({ "room": room, "user_id": user_id }))
            }
            RoomWish::Mark {
                room,
                marking,
                put_out,
                lower,
            } => {
                let marked = self.mark_room(by, &room, &marking, put_out, lower);
                let room_id = marked.await?;
                Ok(json!({ "room_id": room_id, "marking": marking }))
            }
            RoomWish::Markings => {
                let markings = self.markings(by)?;
                Ok(json!({ "markings": markings }))
            }
            RoomWish::Heed { room, via } => {
                let target = parsed_room(&room)?;
                let via = via.into_iter();
                let via = via.filter_map(|name| OwnedServerName::try_from(name).ok());
                let via: Vec<OwnedServerName> = via.collect();
                let room_id = self.heed_ban_list(by, &target, &via).await?;
                Ok(json!({ "room_id": room_id }))
            }
            RoomWish::Ignore { room } => {
                let was = self.ignore_ban_list(by, &room).await?;
                Ok(json!({ "room": room, "was_heeded": was }))
            }
            RoomWish::BanLists => self.list_ban_lists(by).await,
        }
    }

    async fn list_rooms(
        &self,
        by: &Administrator,
        text: Option<String>,
        from: usize,
        limit: usize,
    ) -> Result<Value, AdministrationError> {
        let query = RoomsQuery {
            text,
            from,
            limit: limit.min(PAGE),
            ..RoomsQuery::default()
        };
        let page = self.rooms_page(by, query).await?;
        let rooms: Vec<Value> = page.rooms.iter().map(shown).collect();
        Ok(json!({ "rooms": rooms, "total": page.total }))
    }

    async fn show_room(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<Value, AdministrationError> {
        let overview = self.room_overview(by, room).await?;
        let members = self.members_of(by, room).await?;
        let mut shown = shown(&overview);
        shown["members"] = members.into_iter().map(|id| id.to_string()).collect();
        Ok(shown)
    }

    async fn list_abandoned(
        &self,
        by: &Administrator,
        after: Option<u64>,
    ) -> Result<Value, AdministrationError> {
        let found = self
            .abandoned_rooms(by, after.map(RoomSerial), PAGE)
            .await?;
        let next = found.last().filter(|_| found.len() == PAGE);
        let next = next.map(|last| last.room.0);
        let shown = |room: &crate::AbandonedRoom| {
            json!({
                "room_id": room.room_id,
                "name": room.name,
                "joined_members": room.joined,
                "frozen": room.is_frozen,
            })
        };
        let rooms: Vec<Value> = found.iter().map(shown).collect();
        Ok(json!({ "rooms": rooms, "next": next }))
    }

    async fn close_or_open(
        &self,
        by: &Administrator,
        room: &str,
        closed: bool,
        empty: bool,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CloseRoom)?;
        let was = match closed {
            true => self.close_room(by, room).await?,
            false => self.reopen_room(by, room).await?,
        };
        let mut told = json!({ "room": room, "closed": closed, "was_closed": was });
        if closed && empty {
            let wanted = DeletedRoom {
                room: room.to_owned(),
                ..DeletedRoom::default()
            };
            told["id"] = self.delete_room(by, wanted).await?.into();
        }
        Ok(told)
    }

    fn new_room(
        &self,
        creator: Option<String>,
        message: Option<String>,
    ) -> Result<Option<NewRoom>, AdministrationError> {
        let Some(typed) = creator else {
            return Ok(None);
        };
        let creator = self.accounts.typed_user_id(&typed);
        let creator = creator.ok_or(AdministrationError::UnknownUser(typed))?;
        let message =
            message.unwrap_or_else(|| "A room that you were in has been removed.".to_owned());
        Ok(Some(NewRoom {
            creator,
            name: "A room was removed".to_owned(),
            message,
        }))
    }

    async fn redact_wish(
        &self,
        by: &Administrator,
        user: &str,
        room: Option<String>,
    ) -> Result<Value, AdministrationError> {
        let unknown = || AdministrationError::UnknownUser(user.to_owned());
        let user_id = match user.starts_with('@') && user.contains(':') {
            true => OwnedUserId::try_from(user).ok(),
            false => self.accounts.typed_user_id(user),
        };
        let mut rooms = Vec::new();
        if let Some(room) = room {
            rooms.push(
                self.room_id_of(self.room_of(&room).await?)
                    .await?
                    .to_string(),
            );
        }
        let wanted = WantedRedaction {
            user_id: user_id.ok_or_else(unknown)?,
            rooms,
            limit: ALL_EVENTS,
            by: None,
            reason: by.act().reason.clone(),
            after: None,
            before: None,
        };
        Ok(json!({ "id": self.redact_person(by, wanted).await? }))
    }

    async fn list_ban_lists(&self, by: &Administrator) -> Result<Value, AdministrationError> {
        let lists = self.ban_lists(by).await?;
        let shown = lists.iter().map(|list| {
            let rules = list.rules.iter().map(|rule| {
                json!({
                    "about": rule.subject.name(),
                    "entity": rule.entity,
                    "reason": rule.reason,
                })
            });
            json!({
                "room_id": list.room_id,
                "by": list.record.by,
                "at": list.record.at,
                "rules": rules.collect::<Vec<_>>(),
            })
        });
        Ok(json!({ "lists": shown.collect::<Vec<_>>() }))
    }
}

fn parsed_room(typed: &str) -> Result<OwnedRoomOrAliasId, AdministrationError> {
    let unknown = |_| AdministrationError::UnknownRoom(typed.to_owned());
    OwnedRoomOrAliasId::try_from(typed).map_err(unknown)
}

/// A room, as the command line shows it.
fn shown(room: &RoomOverview) -> Value {
    json!({
        "room_id": room.room_id,
        "name": room.name,
        "topic": room.topic,
        "canonical_alias": room.canonical_alias,
        "joined_members": room.joined,
        "joined_here": room.joined_here,
        "version": room.version,
        "creator": room.creator,
        "encryption": room.encryption,
        "federated": room.is_federated,
        "published": room.is_published,
        "join_rule": room.join_rule,
        "history_visibility": room.history_visibility,
        "room_type": room.room_type,
        "marking": room.marking,
        "closed": room.is_closed,
        "frozen": room.is_frozen,
        "blocked": room.is_blocked,
    })
}
