//! A mail server of the test's own: aiosmtpd, which comes from PyPI into the target folder,
//! once.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use harness::python_with;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

const AIOSMTPD: &str = "aiosmtpd==1.4.6";
/// The longest a letter may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing comes if nothing is to come.
const SILENCE: Duration = Duration::from_millis(300);

/// How a relay is to be spoken to.
#[derive(Clone, Default)]
pub(crate) struct Wish {
    /// "none", "starttls" or "implicit".
    pub(crate) tls: &'static str,
    /// Whether it wants a name and a password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// Whether it takes nothing for anybody.
    pub(crate) refuses: bool,
    /// Its port; any if 0.
    pub(crate) port: u16,
}

impl Wish {
    /// A relay without TLS and password.
    pub(crate) fn plain() -> Self {
        Self {
            tls: "none",
            ..Self::default()
        }
    }
}

/// A relay. It ends when dropped.
pub(crate) struct Relay {
    process: Child,
    port: u16,
    lines: Mutex<mpsc::Receiver<Value>>,
    folder: TempDir,
}

impl Relay {
    pub(crate) fn start(wish: &Wish) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let file = |name: &str| folder.path().join(name);
        let mut command = Command::new(python());
        command
            .arg(harness::sources().join("relay.py"))
            .args(["--tls", wish.tls, "--port", &wish.port.to_string()])
            .arg("--certificate")
            .arg(file("cert.pem"))
            .arg("--key")
            .arg(file("key.pem"))
            .stdout(Stdio::piped());
        if let Some((user, password)) = wish.user {
            command.args(["--user", user, "--password", password]);
        }
        if wish.refuses {
            command.arg("--refuses");
        }
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let port: Value = lines.recv_timeout(PATIENCE).expect("the relay's port");
        Self {
            process,
            port: port.as_u64().unwrap().try_into().unwrap(),
            lines: Mutex::new(lines),
            folder,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The authority that vouches for it, as a PEM file.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The next letter.
    pub(crate) fn letter(&self) -> Value {
        let lines = self.lines.lock().unwrap();
        lines.recv_timeout(PATIENCE).expect("a letter")
    }

    /// The path of the link in the next letter.
    pub(crate) fn link(&self) -> String {
        link_of(&self.letter())
    }

    /// Asserts that nothing has come.
    #[track_caller]
    pub(crate) fn is_quiet(&self) {
        let lines = self.lines.lock().unwrap();
        let came = lines.recv_timeout(SILENCE);
        assert!(came.is_err(), "{came:?}");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The path of a letter's link.
pub(crate) fn link_of(letter: &Value) -> String {
    let text = letter["text"].as_str().unwrap();
    let link = text.lines().find(|line| line.starts_with("http")).unwrap();
    let address = link.find("://").unwrap() + "://".len();
    let at = address + link[address..].find('/').unwrap();
    link[at..].to_owned()
}

/// A certificate for this machine, of an authority of its own.
fn certify(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    for (name, text) in [
        ("root.pem", root.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// A Python that has the mail server, set up in the target folder if it is not there yet.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| python_with(Path::new(env!("CARGO_TARGET_TMPDIR")), AIOSMTPD))
}
