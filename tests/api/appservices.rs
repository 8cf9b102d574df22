//! Application services: who they are, what they may do, what they are told and asked.

mod acting;
mod encrypting;
mod queries;
mod registering;
mod surviving;
mod telling;

use harness::{Api, AppService, Config, Server};
use tempfile::TempDir;

/// A server with one service, whose users and aliases begin with `_ID_`.
struct Scene {
    service: AppService,
    server: Server,
    /// The service's own client.
    api: Api,
    /// Where the registration files are.
    folder: TempDir,
}

impl Scene {
    /// With further lines of the registration file.
    async fn new(id: &str, more: &str) -> Self {
        let service = AppService::start(id).await;
        let text = service.usual_registration(more);
        Self::with(service, &text, "")
    }

    /// With this registration file, and further lines of the configuration's limits.
    fn with(service: AppService, registration: &str, limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        service.register_in(folder.path(), registration);
        let server = Server::with(Config {
            limits: !limits.is_empty(),
            ..config(&folder, limits)
        });
        Self {
            api: service.api(&server),
            service,
            server,
            folder,
        }
    }
}

/// A configuration with all registrations of a folder.
fn config(folder: &TempDir, limits: &str) -> Config {
    let folder = folder.path().display();
    Config {
        more: format!("{limits}\n[application_services]\nregistrations = [\"{folder}\"]"),
        ..Config::default()
    }
}
