//! What every test stands on: the real server in a folder of its own, and a small
//! HTTP client to speak to it.
//!
//! Nothing here knows a crate of the server: a test sees what a client sees.
//!
//! - [`Server`]: starts the binary that `CAIRN_BINARY` names, stops it cleanly or
//!   kills it, starts it again on the same port and the same data.
//! - [`Api`] and [`User`]: requests without and with an access token. An answer is
//!   judged by [`Answer::ok`] or [`Answer::refused`], which say in full what came
//!   instead.
//! - [`Visitor`]: pages for people, and [`qr`]: the codes on them.
//! - [`Clerk`]: somebody with a role at the desk of the console.
//! - [`pictures`]: PNGs, and how large a picture is.
//! - [`Gateway`]: a push gateway that keeps what it gets.
//! - [`AppService`]: an application service that keeps what it is told and asked.
//! - [`Synapse`]: another server, to be a neighbour; [`python_with`]: what else comes from PyPI.
//! - [`neighbours`]: servers that find each other over TLS, and a [`link`] that can be cut.
//! - [`SmallDisk`]: a disk that can be filled without harm.
//! - [`peer`]: a small server that behaves as a test says; [`visitors`]: its people in rooms of
//!   the server under test; [`hosted`]: rooms of its own.
//! - [`signing`]: device keys, one-time keys and cross-signing keys with true
//!   signatures, for the endpoints that check them.

mod api;
mod appservice;
mod clerk;
mod config;
mod gateway;
pub mod hosted;
pub mod link;
pub mod neighbours;
mod pages;
pub mod peer;
pub mod pictures;
mod python;
pub mod qr;
mod rooms;
mod server;
pub mod signing;
mod small_disk;
mod synapse;
mod user;
pub mod visitors;

pub use api::{Answer, Api, escape};
pub use appservice::{AppService, Asked};
pub use clerk::{Clerk, one_time_code};
pub use config::{Config, Registration};
pub use gateway::Gateway;
pub use pages::{Page, Visitor};
pub use python::python_with;
pub use rooms::{Synced, event_ids, find_event};
pub use server::{Server, shared};
pub use small_disk::SmallDisk;
pub use synapse::{Synapse, SynapseConfig, synapse_python};
pub use user::{PASSWORD, User};

/// Runs a command to its end; panics with what it said if it fails.
pub fn run(command: &mut std::process::Command) {
    let output = command.output().expect("a command that can be started");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Calls `attempt` every 50 ms until it gives `Some`, for at most `seconds`.
///
/// Panics with `what` when nothing came in time.
pub async fn eventually<T>(
    what: &str,
    seconds: u64,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "not within {seconds} s: {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The folder of the package whose test runs. Cargo names it to a test that runs; where it was built
/// is no answer, as clones share what is built.
pub fn sources() -> std::path::PathBuf {
    std::env::var("CARGO_MANIFEST_DIR")
        .expect("a test that cargo runs")
        .into()
}
