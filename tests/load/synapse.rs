//! Synapse as it is loaded: for clients alone, without limits.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{run, synapse_python};
use measuring::client::{Client, Failure};
use measuring::process::family;
use tempfile::TempDir;

use crate::postgres::Postgres;

/// What lets Synapse speak to PostgreSQL, from PyPI.
const DRIVER: &str = "psycopg2-binary==2.9.11";
/// The longest it may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// A running Synapse; killed and removed when dropped.
pub(crate) struct Synapse {
    folder: TempDir,
    port: u16,
    process: Child,
    postgres: Option<Postgres>,
}

impl Synapse {
    /// Starts Synapse with its database in one file.
    pub(crate) async fn with_sqlite(cache: &Path) -> Self {
        let python = synapse_python(cache);
        Self::start(&python, None).await
    }

    /// Starts Synapse with PostgreSQL.
    pub(crate) async fn with_postgres(cache: &Path) -> Self {
        let python = synapse_python(cache);
        let has_driver = Command::new(&python)
            .args(["-c", "import psycopg2"])
            .output();
        if !has_driver.is_ok_and(|output| output.status.success()) {
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", DRIVER]));
        }
        Self::start(&python, Some(Postgres::start())).await
    }

    async fn start(python: &Path, postgres: Option<Postgres>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("synapse-load-")
            .tempdir()
            .expect("a folder for the data");
        let port = free_port();
        let text = configuration(folder.path(), port, postgres.as_ref());
        let file = folder.path().join("homeserver.yaml");
        fs::write(&file, text).expect("the configuration");
        fs::write(folder.path().join("log.yaml"), LOG).expect("the log's configuration");
        let output = File::create(folder.path().join("output")).expect("a file for its output");
        run(Command::new(python)
            .args(["-m", "synapse.app.homeserver", "--generate-keys", "-c"])
            .arg(&file));
        let process = Command::new(python)
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("its output"))
            .stderr(output)
            .spawn()
            .expect("Synapse's process");
        let synapse = Self {
            folder,
            port,
            process,
            postgres,
        };
        synapse.wait().await;
        synapse
    }

    async fn wait(&self) {
        let client = Client::with_token(&self.url(), "");
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Ok(mut connection) = client.connect().await {
                let answer = connection.ask("GET", "/_matrix/client/versions", b"");
                // A refusal is an answer too.
                if let Ok(_) | Err(Failure::Refused(..)) = answer.await {
                    return;
                }
            }
            let output = fs::read_to_string(self.folder.path().join("output"));
            assert!(
                Instant::now() < deadline,
                "Synapse does not answer within {START_DEADLINE:?}\n{}",
                output.unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its processes and those of its database.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut processes = family(self.process.id());
        if let Some(postgres) = &self.postgres {
            processes.extend(family(postgres.process_id()));
        }
        processes
    }

    /// The folders of its data.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let database = self.postgres.as_ref().map(Postgres::folder);
        let folders = [Some(self.folder.path()), database];
        folders.into_iter().flatten().map(PathBuf::from).collect()
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(folder: &Path, port: u16, postgres: Option<&Postgres>) -> String {
    let folder = folder.display();
    let database = match postgres {
        None => format!("{{ name: sqlite3, args: {{ database: \"{folder}/homeserver.db\" }} }}"),
        Some(postgres) => format!(
            "{{ name: psycopg2, args: {{ user: {}, dbname: synapse, host: {:?}, cp_min: 5, cp_max: 10 }} }}",
            postgres.user(),
            postgres.folder()
        ),
    };
    let free = "{ per_second: 100000, burst_count: 100000 }";
    format!(
        r#"server_name: "localhost:{port}"
pid_file: "{folder}/pid"
listeners:
  - {{ port: {port}, type: http, bind_addresses: ["127.0.0.1"], resources: [{{ names: [client, media] }}] }}
trusted_key_servers: []
suppress_key_server_warning: true
database: {database}
media_store_path: "{folder}/media"
max_upload_size: 100M
signing_key_path: "{folder}/signing.key"
log_config: "{folder}/log.yaml"
report_stats: false
enable_registration: true
enable_registration_without_verification: true
macaroon_secret_key: "m"
form_secret: "f"
bcrypt_rounds: 4
presence: {{ enabled: true }}
experimental_features: {{ msc3575_enabled: true }}
rc_message: {free}
rc_room_creation: {free}
rc_registration: {free}
rc_login: {{ address: {free}, account: {free}, failed_attempts: {free} }}
rc_joins: {{ local: {free}, remote: {free} }}
rc_joins_per_room: {free}
rc_invites: {{ per_room: {free}, per_user: {free}, per_issuer: {free} }}
rc_key_requests: {free}
rc_media_create: {free}
rc_presence: {{ per_user: {free} }}
rc_delayed_event_mgmt: {free}
rc_user_directory: {free}
"#
    )
}

/// What goes wrong, and nothing else: a log of each request would cost it time.
const LOG: &str = r#"version: 1
formatters: { plain: { format: "%(asctime)s %(name)s %(levelname)s %(message)s" } }
handlers: { console: { class: logging.StreamHandler, formatter: plain } }
root: { level: WARNING, handlers: [console] }
"#;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
