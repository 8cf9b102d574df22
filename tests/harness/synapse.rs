//! Synapse, the reference server, as a neighbour.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Api, python_with};

/// What is installed from PyPI.
const SYNAPSE: &str = "matrix-synapse==1.163.0";
/// The longest it may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How many of the log's last lines a failed test prints.
const LOG_LINES: usize = 60;

/// Where Synapse is, and whom it trusts.
#[derive(Debug, Clone)]
pub struct SynapseConfig {
    /// Its name: other servers must find it by that, so `localhost:` and the port.
    pub server_name: String,
    /// The port for servers.
    pub port: u16,
    /// The port for clients.
    pub client_port: u16,
    /// Its certificate as a PEM file.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The authority that signs everybody's certificate.
    pub root: PathBuf,
}

/// A running Synapse; killed and removed when dropped.
#[derive(Debug)]
pub struct Synapse {
    folder: TempDir,
    python: PathBuf,
    config: SynapseConfig,
    process: Option<Child>,
}

impl Synapse {
    /// Starts Synapse. It is installed in a folder below `cache` if it is not there yet, or
    /// taken from where the variable `CAIRN_SYNAPSE_PYTHON` names a Python that has it.
    pub async fn start(cache: &Path, config: SynapseConfig) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("synapse-test-")
            .tempdir()
            .expect("a temporary folder");
        let mut synapse = Self {
            python: synapse_python(cache),
            folder,
            config,
            process: None,
        };
        synapse.configure();
        synapse.launch().await;
        synapse
    }

    /// The door for clients.
    pub fn api(&self) -> Api {
        Api::new(&format!("http://127.0.0.1:{}", self.config.client_port))
    }

    /// Its name in ids.
    pub fn name(&self) -> &str {
        &self.config.server_name
    }

    /// Kills it and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch().await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        let folder = self.folder.path().display();
        let SynapseConfig {
            server_name,
            port,
            client_port,
            certificate,
            key,
            root,
        } = &self.config;
        let free = "{ per_second: 10000, burst_count: 10000 }";
        let text = format!(
            r#"server_name: "{server_name}"
pid_file: "{folder}/pid"
listeners:
  - {{ port: {client_port}, type: http, bind_addresses: ["127.0.0.1"], resources: [{{ names: [client] }}] }}
  - {{ port: {port}, type: http, tls: true, bind_addresses: ["127.0.0.1"], resources: [{{ names: [federation] }}] }}
tls_certificate_path: {certificate:?}
tls_private_key_path: {key:?}
federation_custom_ca_list: [{root:?}]
ip_range_blacklist: []
federation_ip_range_blacklist: []
trusted_key_servers: []
suppress_key_server_warning: true
database: {{ name: sqlite3, args: {{ database: "{folder}/homeserver.db" }} }}
media_store_path: "{folder}/media"
signing_key_path: "{folder}/signing.key"
log_config: "{folder}/log.yaml"
report_stats: false
enable_registration: true
enable_registration_without_verification: true
macaroon_secret_key: "m"
form_secret: "f"
allow_public_rooms_over_federation: true
federation: {{ destination_min_retry_interval: "1s", destination_retry_multiplier: 2, destination_max_retry_interval: "2s" }}
caches: {{ sync_response_cache_duration: "0s" }}
rc_message: {free}
rc_room_creation: {free}
rc_registration: {free}
rc_login: {{ address: {free}, account: {free}, failed_attempts: {free} }}
rc_joins: {{ local: {free}, remote: {free} }}
rc_joins_per_room: {free}
rc_invites: {{ per_room: {free}, per_user: {free}, per_issuer: {free} }}
rc_federation: {{ window_size: 1000, sleep_limit: 10000, sleep_delay: 1, reject_limit: 10000, concurrent: 100 }}
"#
        );
        fs::write(self.file("homeserver.yaml"), text).expect("the configuration");
        let log = format!(
            r#"version: 1
formatters: {{ plain: {{ format: "%(asctime)s %(name)s %(levelname)s %(request)s %(message)s" }} }}
filters: {{ context: {{ "()": synapse.logging.context.LoggingContextFilter, request: "" }} }}
handlers: {{ file: {{ class: logging.FileHandler, formatter: plain, filters: [context], filename: "{folder}/log" }} }}
root: {{ level: INFO, handlers: [file] }}
"#
        );
        fs::write(self.file("log.yaml"), log).expect("the log's configuration");
        let made = self.command().arg("--generate-keys").status();
        assert!(made.expect("Synapse").success(), "no signing key");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(self.file("homeserver.yaml"));
        command
    }

    async fn launch(&mut self) {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.file("output"))
            .expect("a file for its output");
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("its output"))
            .stderr(output)
            .spawn()
            .expect("Synapse's process");
        self.process = Some(child);
        let api = self.api();
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let versions = api.request(reqwest::Method::GET, "versions");
            if let Ok(answer) = api.try_request(versions).await
                && answer.status == 200
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "Synapse does not answer within {START_DEADLINE:?}\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// The last lines of its log and of what it printed.
    pub fn log_tail(&self) -> String {
        let mut text = String::from("-- Synapse's log --\n");
        for name in ["output", "log"] {
            let log = fs::read(self.file(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES);
            text.push_str(&lines[from..].join("\n"));
            text.push('\n');
        }
        text
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// A Python that has Synapse, set up in a folder below `cache` if it is not there yet, or what
/// the variable `CAIRN_SYNAPSE_PYTHON` names.
pub fn synapse_python(cache: &Path) -> PathBuf {
    if let Some(python) = std::env::var_os("CAIRN_SYNAPSE_PYTHON") {
        return python.into();
    }
    python_with(cache, SYNAPSE)
}
