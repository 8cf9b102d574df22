//! The people and rooms of each server.

use std::ops::Range;

use harness::{Api, User, escape};
use measuring::client::{Client, Connection};
use serde_json::json;

use crate::driving::join_all;
use crate::options::Size;
use crate::sites::Site;

/// How many people or rooms are made at the same time.
const TOGETHER: usize = 10;

/// What every server has before it is loaded.
pub(crate) struct World {
    url: String,
    pub(crate) people: Vec<User>,
    /// A room for each of the people, of its own.
    pub(crate) own_rooms: Vec<String>,
    /// A room with all of them.
    pub(crate) hot_room: String,
    /// Rooms in which the first few have talked.
    pub(crate) lively_rooms: Vec<String>,
    /// How many these first few are.
    members: usize,
    /// How many messages were sent by scenarios that count what they take on disk.
    pub(crate) sent: u64,
    /// By how much the data grew while they did.
    pub(crate) grown: u64,
}

impl World {
    /// Registers the people and makes the rooms.
    pub(crate) async fn prepare(site: &Site, size: &Size) -> Self {
        Self::prepare_at(&site.api(), size).await
    }

    /// The same on a server that this program did not start by itself.
    pub(crate) async fn prepare_at(api: &Api, size: &Size) -> Self {
        let mut people = Vec::new();
        for some in together(size.people) {
            people.extend(join_all(some.map(|_| api.register("person"))).await);
        }
        let mut own_rooms = Vec::new();
        for person in &people {
            own_rooms.push(public_room(person, "own").await);
        }
        let hot_room = public_room(&people[0], "hot").await;
        for person in &people[1..] {
            join(person, &hot_room).await;
        }
        let mut world = Self {
            url: api.url().to_owned(),
            people,
            own_rooms,
            hot_room,
            lively_rooms: Vec::new(),
            members: size.members,
            sent: 0,
            grown: 0,
        };
        for some in together(size.rooms) {
            let rooms = join_all(some.map(|number| world.lively_room(number, size))).await;
            world.lively_rooms.extend(rooms);
        }
        world
    }

    async fn lively_room(&self, number: usize, size: &Size) -> String {
        let members = &self.people[..size.members];
        let room = public_room(&members[number % members.len()], &format!("Room {number}")).await;
        for member in members {
            join(member, &room).await;
        }
        for message in 0..size.messages {
            let person = &members[message % members.len()];
            let text = format!("Message {message}: the committee meets on Tuesday.");
            let mut connection = self.connect(person).await;
            let path = send_path(&room);
            let body = json!({ "msgtype": "m.text", "body": text }).to_string();
            connection.put(&path, &body).await.expect("a send");
        }
        room
    }

    /// Whether the person of that number is in a room.
    pub(crate) fn is_in(&self, person: usize, room: &str) -> bool {
        room == self.hot_room
            || self.own_rooms.get(person).is_some_and(|own| own == room)
            || (person < self.members && self.lively_rooms.iter().any(|lively| lively == room))
    }

    /// Somebody who is in a room.
    pub(crate) fn member_of(&self, room: &str) -> &User {
        let owner = self.own_rooms.iter().position(|own| own == room);
        &self.people[owner.unwrap_or(0)]
    }

    /// A connection of one of the people.
    pub(crate) async fn connect(&self, person: &User) -> Connection {
        let client = Client::new(&self.url, person);
        client.connect().await.expect("a connection")
    }
}

/// The numbers up to `count`, as many at a time as are made at the same time.
fn together(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(TOGETHER)
        .map(move |from| from..count.min(from + TOGETHER))
}

/// Makes a public room.
pub(crate) async fn public_room(person: &User, name: &str) -> String {
    let body = json!({ "preset": "public_chat", "name": name });
    let room = person.post("v3/createRoom", body).await.ok();
    room["room_id"].as_str().expect("a room id").to_owned()
}

async fn join(person: &User, room: &str) {
    let path = format!("v3/join/{}", escape(room));
    person.post(path, json!({})).await.ok();
}

/// The path of a message with a transaction id that no other has.
pub(crate) fn send_path(room: &str) -> String {
    format!(
        "/_matrix/client/v3/rooms/{}/send/m.room.message/{}",
        escape(room),
        number()
    )
}

/// A number that no other call in this process got.
pub(crate) fn number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
