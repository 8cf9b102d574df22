//! The rooms of a space, of which other servers may have to be asked (server-server API,
//! "Spaces").

use std::{collections::HashSet, time::Duration};

use http::Method;
use model::UserSerial;
use peers::{Ask, Peers};
use rooms::{HierarchyPage, HierarchyRequest, OtherRoom, OtherRooms, ReadError};
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, ServerName};
use serde::Deserialize;
use serde_json::Value;
use store::Snapshot;
use tokio::task::JoinSet;

use crate::Actions;

/// How long another server may take to tell of a space.
const WAIT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How often the tree is walked on, each time with what was told meanwhile.
const ROUNDS: usize = 8;
/// The most rooms that are asked about in one round, at the same time.
const MOST_ASKED: usize = 20;
/// The most servers that are asked about one room.
const MOST_SERVERS: usize = 10;
/// The most children of a space that are believed of one answer.
const MOST_CHILDREN: usize = 1000;

#[derive(Deserialize)]
struct Told {
    room: Value,
    #[serde(default)]
    children: Vec<Value>,
}

impl Actions {
    /// The rooms of a space that `user` may know of: `GET /rooms/{roomId}/hierarchy`. Other
    /// servers are asked about rooms that this one is not in; what nobody tells is left out.
    ///
    /// # Errors
    /// [`ReadError`], as [`rooms::Rooms::hierarchy`].
    pub async fn hierarchy(
        &self,
        room_id: &RoomId,
        user: UserSerial,
        request: &HierarchyRequest,
    ) -> Result<HierarchyPage, ReadError> {
        let mut others = OtherRooms::new();
        let mut asked = HashSet::new();
        for _ in 0..ROUNDS {
            let (rooms, room_id) = (self.rooms.clone(), room_id.to_owned());
            let wanted = request.clone();
            let read = move |view: &Snapshot| {
                let page = rooms.hierarchy(view, &room_id, user, &wanted, &others);
                page.map(|page| (page, others))
            };
            let (page, told) = self.rooms.store().read_long(read).await?;
            others = told;
            let unknown = page.unknown.iter();
            let unknown = unknown.filter(|(room_id, _)| !asked.contains(room_id));
            let unknown: Vec<_> = unknown.take(MOST_ASKED).cloned().collect();
            if unknown.is_empty() {
                return Ok(page);
            }
            asked.extend(unknown.iter().map(|(room_id, _)| room_id.clone()));
            self.ask_about(unknown, request.suggested_only, &mut others)
                .await;
        }
        let (rooms, room_id, wanted) = (self.rooms.clone(), room_id.to_owned(), request.clone());
        let read = move |view: &Snapshot| rooms.hierarchy(view, &room_id, user, &wanted, &others);
        self.rooms.store().read_long(read).await
    }

    /// What a room is and what `user` is in it, as JSON: `GET /room_summary`. Of a room that
    /// this server is not in, the servers of `via` are asked, then that of its id or alias.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if nobody tells of it, or the user may not know of it.
    pub async fn room_summary(
        &self,
        target: &RoomOrAliasId,
        via: Vec<OwnedServerName>,
        user: UserSerial,
    ) -> Result<String, ReadError> {
        let (rooms, wanted) = (self.rooms.clone(), target.to_owned());
        let read = move |view: &Snapshot| rooms.room_summary(view, &wanted, user);
        let own = self.rooms.store().read(read).await;
        if !matches!(own, Err(ReadError::NotFound(_))) {
            return own;
        }
        let (room_id, mut servers) = match <&RoomId>::try_from(target) {
            Ok(room_id) => (room_id.to_owned(), Vec::new()),
            Err(alias) => match self.resolve_alias(alias).await {
                Ok(resolved) => (resolved.room_id, resolved.servers),
                Err(_) => return own,
            },
        };
        servers.splice(0..0, via);
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        servers.truncate(MOST_SERVERS);
        let told = ask_one(&self.peers, &room_id, servers, false).await;
        let Some((_, other)) = told
            .and_then(|told| OtherRoom::parse(told.room))
            .filter(|(told_id, _)| *told_id == room_id)
        else {
            return own;
        };
        let read = move |view: &Snapshot| other.summary(view, user);
        match self.rooms.store().read(read).await? {
            Some(summary) => Ok(summary),
            None => own,
        }
    }

    /// Whether a server says of one of its rooms that it takes guests.
    pub(crate) async fn takes_guests(&self, server: &ServerName, room_id: &RoomId) -> bool {
        let told = ask_one(&self.peers, room_id, vec![server.to_owned()], false).await;
        told.is_some_and(|told| told.room["guest_can_join"] == true)
    }

    /// Asks about rooms at the same time, and puts what is told among `others`; of rooms that
    /// nobody tells of, that.
    async fn ask_about(
        &self,
        rooms: Vec<(OwnedRoomId, Vec<OwnedServerName>)>,
        suggested_only: bool,
        others: &mut OtherRooms,
    ) {
        let mut asking = JoinSet::new();
        for (room_id, via) in rooms {
            let peers = self.peers.clone();
            asking.spawn(async move {
                let told = ask_one(&peers, &room_id, via, suggested_only).await;
                (room_id, told)
            });
        }
        while let Some(asked) = asking.join_next().await {
            let Ok((room_id, told)) = asked else {
                continue;
            };
            let Some(told) = told else {
                // At least its parent's server may have told what it is.
                if let Some(other) = others.entry(room_id).or_default() {
                    other.has_no_children();
                }
                continue;
            };
            for child in told.children.into_iter().take(MOST_CHILDREN) {
                if let Some((child_id, other)) = OtherRoom::parse(child)
                    && child_id != room_id
                {
                    others.entry(child_id).or_insert(Some(other));
                }
            }
            let parsed = OtherRoom::parse(told.room).filter(|(told_id, _)| *told_id == room_id);
            others.insert(room_id, parsed.map(|(_, other)| other));
        }
    }
}

/// What the first server that answers tells of a room.
async fn ask_one(
    peers: &Peers,
    room_id: &RoomId,
    via: Vec<OwnedServerName>,
    suggested_only: bool,
) -> Option<Told> {
    let encoded: String = url::form_urlencoded::byte_serialize(room_id.as_bytes()).collect();
    let path =
        format!("/_matrix/federation/v1/hierarchy/{encoded}?suggested_only={suggested_only}");
    for server in via {
        if server == peers.server_name() {
            continue;
        }
        let ask = Ask::new("hierarchy").within(WAIT).up_to(ANSWER_BYTES);
        match peers.ask_json(&server, Method::GET, &path, None, ask).await {
            Ok(answer) => match serde_json::from_slice(&answer) {
                Ok(told) => return Some(told),
                Err(error) => log::info!("{server} tells of {room_id} what is nothing: {error}"),
            },
            Err(error) => log::debug!("{server} tells nothing of {room_id}: {error}"),
        }
    }
    None
}
