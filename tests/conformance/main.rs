//! Holds the real server's answers against the specification's own OpenAPI files.
//!
//! `make conformance` runs it. Each operation of the Client-Server API gets valid and
//! invalid requests, written in [`cases`]; each answer is held against the schema that the
//! specification has for its status. An answer counts only where it holds data: a list or
//! a map that was always empty is told by name ([`coverage`]). The events in an answer are held against the schemas of their
//! types as well ([`events`]). What may differ is listed
//! with its reason in [`exceptions`]. The exit code is 0 if every operation is validated
//! with data or excepted.

mod call;
mod cases;
mod companion;
mod coverage;
mod events;
mod exceptions;
mod limits;
mod report;
mod schema;
mod specification;
#[cfg(test)]
mod tests;
mod walk;
mod world;
mod yaml;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use harness::{Config, Server};

use crate::specification::Specification;
use crate::walk::Walk;
use crate::world::World;

/// The options that cases need, beside the section in which they stand. A section that the
/// binary does not have yet is left out, so that its operations show as not recognised.
fn configuration(folder: &Path) -> String {
    let registration = folder.join("bridge.yaml");
    [
        ("[media]", "unauthenticated_until = \"always\"".to_owned()),
        ("[url_previews]", "enabled = true".into()),
        ("[outgoing]", "private_networks = [\"127.0.0.0/8\"]".into()),
        (
            "[well_known]",
            "client = \"https://matrix.example.org\"\nsupport_page = \"https://example.org/help\"\n\
             support_email = \"help@example.org\"\nsupport_user = \"@admin:localhost\""
                .into(),
        ),
        (
            "[turn]",
            "uris = [\"turn:turn.example.org:3478?transport=udp\"]\nshared_secret = \"a secret\""
                .into(),
        ),
        (
            "[application_services]",
            format!("registrations = [{registration:?}]"),
        ),
    ]
    .into_iter()
    .filter(|(section, _)| example().lines().any(|line| line == *section))
    .map(|(section, lines)| format!("{section}\n{lines}\n\n"))
    .collect()
}

/// The binary's own list of its options.
fn example() -> String {
    let output = Command::new(Server::binary())
        .args(["config", "example"])
        .output()
        .expect("the binary's example of a configuration");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder for what is configured by file; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let name = format!("cairn-conformance-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is a folder in the system's folder for what may go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn run(specification: Specification) -> Result<bool, String> {
    let say = |error: std::io::Error| error.to_string();
    let companion = companion::start().await.map_err(say)?;
    let folder = Folder::make().map_err(say)?;
    let registration = companion::registration(companion);
    std::fs::write(folder.0.join("bridge.yaml"), registration).map_err(say)?;
    let server = Server::with(Config {
        registration_more: "shared_secret = \"a shared secret\"".into(),
        more: configuration(&folder.0),
        ..Config::default()
    });
    let walk = Arc::new(Walk::new(specification, server.api())?);
    let world = Arc::new(World::prepare(&server, companion).await);
    let local = tokio::task::LocalSet::new();
    local.run_until(cases::walk(&walk, &world)).await;
    limits::walk(&walk).await;
    Ok(report::print(&walk))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(folder) = std::env::var_os("MATRIX_SPEC") else {
        eprintln!(
            "MATRIX_SPEC names no folder. It shall be the folder `data` of the Matrix \
             specification: git clone https://github.com/matrix-org/matrix-spec, then \
             make conformance MATRIX_SPEC=matrix-spec/data"
        );
        return ExitCode::from(2);
    };
    let result = match Specification::open(Path::new(&folder)) {
        Ok(specification) => run(specification).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
