//! Servers, users and rooms to measure with.

use std::path::Path;

use harness::{Config, Server, User};
use serde_json::json;
use tokio::task::JoinSet;

/// Starts a server in `folder` on which registering hundreds of users is quick: their
/// passwords are hashed with little effort.
pub(crate) fn start(folder: &Path) -> Server {
    let hashing = "[accounts]\npassword_hash_memory = 64\npassword_hash_passes = 1\n";
    Server::on(
        folder,
        Config {
            more: format!("{hashing}\n[media]\nmax_files_per_user = 0\n"),
            ..Config::default()
        },
    )
}

/// Registers users.
pub(crate) async fn register(server: &Server, name: &str, count: usize) -> Vec<User> {
    let api = server.api();
    let mut users = Vec::with_capacity(count);
    for _ in 0..count {
        users.push(api.register(name).await);
    }
    users
}

/// A room of its own for each user; the users stay in their order.
pub(crate) async fn room_for_each(users: &[User]) -> Vec<String> {
    let mut rooms = Vec::with_capacity(users.len());
    for user in users {
        rooms.push(user.public_room().await);
    }
    rooms
}

/// One room with all of them.
pub(crate) async fn shared_room(users: &[User]) -> String {
    let room = users[0].public_room().await;
    for user in &users[1..] {
        user.join(&room).await;
    }
    room
}

/// Rooms with all of the users, in each of which they said `messages` messages by turns.
pub(crate) async fn lively_rooms(users: &[User], count: usize, messages: usize) {
    let mut making = JoinSet::new();
    for number in 0..count {
        let mut members = users.to_vec();
        // Each time somebody else makes the room.
        members.rotate_left(number % users.len());
        making.spawn(async move {
            let options = json!({ "preset": "public_chat", "name": format!("Room {number}") });
            let room = members[0].create_room(options).await;
            for member in &members[1..] {
                member.join(&room).await;
            }
            for message in 0..messages {
                let text = format!("Message {message}: the committee meets on Tuesday.");
                members[message % members.len()].say(&room, &text).await;
            }
        });
    }
    while let Some(made) = making.join_next().await {
        made.expect("a room");
    }
}
