//! A certificate from an authority that speaks ACME: pebble, which Let's Encrypt tests with.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Server, eventually};

use crate::tls::fetch;

/// The version that is installed the first time.
const PEBBLE: &str = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3";

/// The authority's program: of `CAIRN_PEBBLE`, or installed into the target folder by Go.
fn pebble() -> PathBuf {
    if let Some(path) = std::env::var_os("CAIRN_PEBBLE") {
        return path.into();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pebble-2.10.3");
    let program = folder.join("pebble");
    if !program.exists() {
        let installed = Command::new("go")
            .args(["install", PEBBLE])
            .env("GOBIN", &folder)
            .status()
            .expect("Go (.ci/install-dependencies test), or CAIRN_PEBBLE");
        assert!(installed.success(), "pebble cannot be installed");
    }
    program
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A running authority; killed when dropped.
struct Authority {
    process: Child,
    port: u16,
    /// Where its own certificate is that its address is trusted by.
    root: PathBuf,
    management: u16,
}

impl Authority {
    /// Starts one that asks whose a name is at `port` of that name, and asks for everything
    /// twice, as pebble does to see whether its clients can bear it.
    fn start(folder: &Path, port: u16) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let wanted = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let made = wanted.self_signed(&key).unwrap();
        let (root, private) = (folder.join("acme.pem"), folder.join("acme.key"));
        fs::write(&root, made.pem()).unwrap();
        fs::write(&private, key.serialize_pem()).unwrap();
        let (own, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{own}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": root, "privateKey": private,
            "httpPort": 1, "tlsPort": port,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        let file = folder.join("pebble.json");
        fs::write(&file, config.to_string()).unwrap();
        let process = Command::new(pebble())
            .arg("-config")
            .arg(&file)
            .env("PEBBLE_WFE_NONCEREJECT", "20")
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(fs::File::create(folder.join("pebble.log")).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self {
            process,
            port: own,
            root,
            management,
        }
    }

    fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Writes the root of the certificates that it gives into a file, once it answers.
    async fn issued_by(&self, folder: &Path) -> PathBuf {
        let address = format!("127.0.0.1:{}", self.management);
        let text = eventually("the authority answers", 20, async || {
            fetch(Some(&self.root), "127.0.0.1", &address, "roots/0").ok()
        })
        .await;
        let file = folder.join("issued-by.pem");
        fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_certificate_comes_from_an_authority_that_asks_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let authority = Authority::start(folder.path(), port);
    let issued_by = authority.issued_by(folder.path()).await;
    let address = format!("127.0.0.1:{port}");
    let versions = || {
        fetch(
            Some(&issued_by),
            "localhost",
            &address,
            "_matrix/client/versions",
        )
    };
    let output = Command::new(Server::binary())
        .args(["init", "--server-name", "localhost", "--data-dir", "data"])
        .args([
            "--tls",
            "acme",
            "--name",
            "localhost",
            "--email",
            "help@council.example",
        ])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--config"])
        .arg(folder.path().join("cairn.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let config = fs::read_to_string(folder.path().join("cairn.toml")).unwrap();
    let config = config.replace(
        "issuer = \"acme\"\n",
        &format!(
            "issuer = \"acme\"\nacme_directory = \"{}\"\n",
            authority.directory()
        ),
    );
    let outgoing = format!("\n[outgoing]\ntrusted_roots = [{:?}]\n", authority.root);
    fs::write(folder.path().join("cairn.toml"), config + &outgoing).unwrap();

    // Until the certificate is there, the server listens with one that nobody trusts.
    let mut server = Server::with_file(folder.path());
    eventually("a certificate that is trusted", 120, async || {
        versions().ok()
    })
    .await;
    let file = server.data_dir().join("tls/server.pem");
    let made = fs::read(&file).unwrap();

    // It is kept over a restart.
    server.stop();
    let server = Server::with_file(folder.path());
    versions().unwrap();
    assert!(fs::read(&file).unwrap() == made);
    drop(server);

    // An authority that is not reached is a reason to look, and no reason not to start.
    drop(authority);
    let text = String::from_utf8(made).unwrap();
    fs::write(
        &file,
        text.replace("Kind: certificate", "Kind: placeholder"),
    )
    .unwrap();
    let server = Server::with_file(folder.path());
    eventually("the log says so", 60, async || {
        let said = server.log_tail().contains("the certificate is not renewed");
        said.then_some(())
    })
    .await;
    versions().unwrap();
}
