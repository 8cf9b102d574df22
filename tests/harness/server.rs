//! The real binary as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Api, Config, Visitor};

/// The longest a server may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// The longest a server may take to stop after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How many of the log's last lines a failed test prints.
const LOG_LINES: usize = 40;

/// A running server with a data folder of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Server {
    /// Owns the folder; `None` where the folder is the caller's.
    _owner: Option<TempDir>,
    folder: PathBuf,
    config: Config,
    address: String,
    /// Where it listens, in the order of the configuration.
    addresses: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// Starts a server with open registration and without rate limits.
    pub fn start() -> Self {
        Self::with(Config::default())
    }

    /// Starts a server with this configuration in a new folder.
    pub fn with(config: Config) -> Self {
        let owner = tempfile::Builder::new()
            .prefix("cairn-test-")
            .tempdir()
            .expect("a temporary folder");
        let folder = owner.path().to_owned();
        Self::in_folder(folder, Some(owner), config)
    }

    /// Starts a server on a folder that exists, for instance one cut off by a power
    /// failure. The folder's `data` is the data folder; nothing is removed at the end.
    pub fn on(folder: &Path, config: Config) -> Self {
        Self::in_folder(folder.to_owned(), None, config)
    }

    /// As [`Server::on`], with the binary's command behind the words of `wrapper`.
    pub fn on_under(folder: &Path, config: Config, wrapper: &[&str]) -> Self {
        let mut server = Self::new(folder.to_owned(), None, config);
        server.launch_under(wrapper);
        server
    }

    /// Starts a server on a folder with the configuration that stands there,
    /// `cairn.toml`, whose data folder is `data`; nothing is removed at the end.
    pub fn with_file(folder: &Path) -> Self {
        let mut server = Self::new(folder.to_owned(), None, Config::default());
        server.spawn(&[]);
        server
    }

    fn in_folder(folder: PathBuf, owner: Option<TempDir>, config: Config) -> Self {
        let mut server = Self::new(folder, owner, config);
        server.launch();
        server
    }

    fn new(folder: PathBuf, owner: Option<TempDir>, config: Config) -> Self {
        Self {
            _owner: owner,
            folder,
            config,
            address: "127.0.0.1:0".into(),
            addresses: Vec::new(),
            process: None,
        }
    }

    /// The path of the binary under test.
    pub fn binary() -> PathBuf {
        let path = std::env::var_os("CAIRN_BINARY")
            .expect("CAIRN_BINARY names no binary; run the tests with `make test`");
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "CAIRN_BINARY: {} does not exist; run the tests with `make test`",
            path.display()
        );
        path
    }

    /// Writes the configuration and starts the process; returns when it listens.
    fn launch(&mut self) {
        self.launch_under(&[]);
    }

    /// As [`Server::launch`], with the binary's command behind the words of `wrapper`.
    fn launch_under(&mut self, wrapper: &[&str]) {
        let text = self.config.text(&self.data_dir(), &self.address);
        std::fs::write(self.config_file(), text).expect("the configuration file");
        self.spawn(wrapper);
    }

    /// Starts the process on the configuration that is there.
    fn spawn(&mut self, wrapper: &[&str]) {
        assert!(self.process.is_none(), "the server runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the log file");
        let binary = Self::binary();
        let mut command = match wrapper.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let mut child = command
            .args(["serve", "--json", "--config"])
            .arg(self.config_file())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server's process");
        let output = child.stdout.take().expect("the server's output");
        self.process = Some(child);
        self.addresses = self.wait_until_listening(output);
        self.address = self.addresses[0].clone();
    }

    fn wait_until_listening(&mut self, output: impl std::io::Read + Send + 'static) -> Vec<String> {
        let text = std::fs::read_to_string(self.config_file()).expect("the configuration");
        let listeners = text.matches("[[listener]]").count();
        let mut addresses = Vec::new();
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).unwrap_or_default();
                    if event["event"] == "listening" {
                        let address = event["address"].as_str().expect("an address");
                        addresses.push(address.to_owned());
                    }
                    if addresses.len() == listeners {
                        return addresses;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("no listener within {START_DEADLINE:?}\n{}", self.log_tail())
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    panic!("the server ended before it listened\n{}", self.log_tail())
                }
            }
        }
    }

    /// Where the server listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same for each listener, in the order of the configuration.
    pub fn urls(&self) -> Vec<String> {
        let url = |address: &String| format!("http://{address}");
        self.addresses.iter().map(url).collect()
    }

    /// The addresses of all listeners, in the order of the configuration.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// A client without an access token.
    pub fn api(&self) -> Api {
        Api::new(&self.url())
    }

    /// The server's name in ids.
    pub fn name(&self) -> &str {
        &self.config.server_name
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("cairn.toml")
    }

    /// What the server wrote to its standard error, over all its starts.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("stderr.log")
    }

    /// The process id of the running server.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("a running server").id()
    }

    /// With which status the server has ended by itself; none while it runs.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let process = self.process.as_mut().expect("a server that was started");
        process.try_wait().expect("the server's state")
    }

    /// Kills the server as `kill -9` does; the data folder stays.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("SIGKILL");
            process.wait().expect("the server's end");
        }
    }

    /// Asks the server to stop with SIGTERM and waits for it.
    ///
    /// Panics unless it ends within ten seconds with exit code 0.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("a running server");
        let signalled = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", process.id())])
            .status()
            .expect("SIGTERM");
        assert!(signalled.success());
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            if let Some(status) = process.try_wait().expect("the server's state") {
                assert!(
                    status.success(),
                    "stopped with {status}\n{}",
                    self.log_tail()
                );
                return;
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                let _ = process.wait();
                panic!(
                    "still running {STOP_DEADLINE:?} after SIGTERM\n{}",
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the server again on the same port and data, after [`Server::kill9`] or
    /// [`Server::stop`]. A server that still runs is stopped first.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// As [`Server::restart`], with the binary's command behind the words of `wrapper`
    /// (`strace -o FILE`, for instance).
    pub fn restart_under(&mut self, wrapper: &[&str]) {
        if self.process.is_some() {
            self.stop();
        }
        self.launch_under(wrapper);
    }

    /// Runs `cairn WORDS… --config FILE` and gives its output.
    pub fn cairn(&self, words: &[&str]) -> Output {
        self.cairn_with_input(words, "")
    }

    /// As [`Server::cairn`], with this text on the command's standard input.
    pub fn cairn_with_input(&self, words: &[&str], input: &str) -> Output {
        let mut child = Command::new(Self::binary())
            .args(words)
            .arg("--config")
            .arg(self.config_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the cairn command");
        // A command that reads nothing may have ended already.
        let _ = child
            .stdin
            .take()
            .expect("its input")
            .write_all(input.as_bytes());
        child.wait_with_output().expect("the command's output")
    }

    /// Runs `cairn WORDS… --config FILE --json` and gives what it printed.
    ///
    /// Panics unless it ends with exit code 0.
    pub fn cairn_json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let output = self.cairn(&words);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "cairn {words:?}: {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(printed.trim())
            .unwrap_or_else(|error| panic!("cairn {words:?} printed {printed:?}: {error}"))
    }

    /// Somebody with a browser.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.url())
    }

    /// An invitation token for registration.
    pub fn invitation(&self) -> String {
        let invitation = self.cairn_json(&["invite", "create"]);
        invitation["token"].as_str().expect("a token").to_owned()
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        format!("-- the server's log --\n{}", lines[from..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// A server with the default configuration that all tests of one binary share.
///
/// It is started at the first call, in `folder` (emptied before), and ends with the
/// test process, however that ends: `setpriv` ties it to a thread that never returns.
pub fn shared(folder: &'static str) -> Api {
    // `None` when it did not start: the other tests need not wait for that again.
    static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
    let url = ADDRESS.get_or_init(|| {
        let (sender, started) = mpsc::channel();
        std::thread::spawn(move || {
            let folder = Path::new(folder).join("shared-server");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).expect("the shared server's folder");
            let mut server = Server::new(folder, None, Config::default());
            server.launch_under(&["setpriv", "--pdeathsig", "KILL"]);
            eprintln!("the shared server's log: {}", server.log_file().display());
            sender.send(server.url()).expect("a waiting test");
            loop {
                std::thread::park();
            }
        });
        started.recv().ok()
    });
    Api::new(url.as_deref().expect("the shared server did not start"))
}
