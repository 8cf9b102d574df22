//! What people do with the server, told with real Matrix clients.
//!
//! Each story starts a server of its own, or two. A [`device::Device`] is a client as people
//! have it: an SQLite store in a folder, a sync that goes on in the background, and
//! the keys to read what others encrypt.

mod across;
mod conversation;
mod crash;
mod device;
mod doors;
mod joining;
mod pictures;
mod recovery;
mod relations;
mod removed_device;
mod restored;
mod sliding;
mod threads;
mod verification;
