//! From nothing to a server that apps trust.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::Server;

use crate::tls::fetch;

fn init(folder: &Path, words: &[&str]) -> Output {
    Command::new(Server::binary())
        .args([
            "init",
            "--server-name",
            "council.example",
            "--data-dir",
            "data",
        ])
        .args(words)
        .arg("--config")
        .arg(folder.join("cairn.toml"))
        .output()
        .unwrap()
}

/// Asks the server under one of its names, trusting the certificate in `root` alone.
fn ask(root: Option<&Path>, server: &Server, name: &str) -> Result<String, String> {
    fetch(
        root,
        name,
        &server.addresses()[0],
        "_matrix/client/versions",
    )
}

#[test]
fn a_server_with_an_authority_of_its_own_is_trusted_by_whoever_has_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--tls",
        "local",
        "--name",
        "matrix.council.example",
        "--name",
        "127.0.0.1",
        "--listen",
        "127.0.0.1:0",
        "--administrator",
        "admin",
        "--json",
    ];
    let output = init(folder.path(), &words);
    assert!(output.status.success(), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let root = folder.path().join("data/tls/root.pem");
    assert_eq!(told["root"]["certificate"], root.to_str().unwrap());
    // The fingerprint is the one that devices and openssl show.
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(&root)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown
            .trim()
            .ends_with(told["root"]["sha256"].as_str().unwrap()),
        "{shown}"
    );

    let mut server = Server::with_file(folder.path());
    for name in ["matrix.council.example", "127.0.0.1"] {
        let answer = ask(Some(&root), &server, name).unwrap();
        assert!(answer.contains("versions"), "{name}: {answer}");
    }
    // It is nobody else, and strangers do not believe it.
    for (root, name) in [(Some(root.as_path()), "other.example"), (None, "127.0.0.1")] {
        let told = ask(root, &server, name).unwrap_err();
        assert!(told.contains("SSL"), "{told}");
    }
    // Apps are told the name that was given first.
    let path = ".well-known/matrix/client";
    let answer = fetch(Some(&root), "127.0.0.1", &server.addresses()[0], path).unwrap();
    assert!(
        answer.contains("https://matrix.council.example"),
        "{answer}"
    );

    // A backup has the authority, so that a restored server is the same for every device.
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    server.cairn_json(&["backup", "create", to]);
    let elsewhere = tempfile::tempdir().unwrap();
    let into = elsewhere.path().join("data");
    let words = ["backup", "restore", to, "--into", into.to_str().unwrap()];
    server.cairn_json(&words);
    for name in ["root.pem", "root.key", "server.pem"] {
        let path = Path::new("tls").join(name);
        let (one, other) = (server.data_dir().join(&path), into.join(&path));
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap(), "{name}");
    }

    // Another name: another certificate of the same root at the next start.
    server.stop();
    let config = fs::read_to_string(server.config_file()).unwrap();
    let config = config.replace("\"127.0.0.1\"]", "\"127.0.0.1\", \"council.example\"]");
    fs::write(server.config_file(), config).unwrap();
    let server = Server::with_file(folder.path());
    ask(Some(&root), &server, "council.example").unwrap();
    // One for which the root that was handed out does not vouch is refused, with what to do.
    drop(server);
    let config = fs::read_to_string(folder.path().join("cairn.toml")).unwrap();
    let config = config.replace("\"council.example\"]", "\"other.example\"]");
    fs::write(folder.path().join("cairn.toml"), config).unwrap();
    let output = Command::new(Server::binary())
        .args(["serve", "--config"])
        .arg(folder.path().join("cairn.toml"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("does not vouch for \"other.example\""),
        "{told}"
    );
}

#[test]
fn certificate_files_are_tried_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let pair = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let wanted = rcgen::CertificateParams::new(["council.example".to_owned()]).unwrap();
    let made = wanted.self_signed(&pair).unwrap();
    fs::write(&cert, made.pem()).unwrap();
    fs::write(&key, other.serialize_pem()).unwrap();
    let words = [
        "--tls",
        "files",
        "--certificate",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let output = init(folder.path(), &words);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("cannot be used"), "{told}");
    assert!(!folder.path().join("cairn.toml").exists());
    assert!(!folder.path().join("data").exists());

    fs::write(&key, pair.serialize_pem()).unwrap();
    let output = init(folder.path(), &words);
    assert!(output.status.success(), "{output:?}");
    let server = Server::with_file(folder.path());
    ask(Some(&cert), &server, "council.example").unwrap();
}

#[test]
fn the_addresses_are_those_that_the_package_listens_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path(), &["--tls", "local"]);
    assert!(output.status.success(), "{output:?}");
    let config = fs::read_to_string(folder.path().join("cairn.toml")).unwrap();
    let socket = harness::sources().join("../../systemd/cairn.socket");
    let socket = fs::read_to_string(socket).unwrap();
    let addresses = socket
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream="));
    for address in addresses {
        assert!(
            config.contains(&format!("address = \"{address}\"")),
            "{address} in {config}"
        );
    }
    let checked = Command::new(Server::binary())
        .args(["config", "check", "--config"])
        .arg(folder.path().join("cairn.toml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
