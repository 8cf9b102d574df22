//! The signed list of a closed federation: `cairn federation peers`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use harness::neighbours::World;
use harness::{Config, Server, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::peer::Peer;

const PROFILE: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aa.test";

/// Who signs lists, with the files of the lists.
struct Authority {
    folder: TempDir,
    public: String,
}

impl Authority {
    /// Any server's binary will do.
    fn new(at: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("list.key");
        let words = ["federation", "peers", "new-key", key.to_str().unwrap()];
        let made = at.cairn_json(&words);
        let public = made["public_key"].as_str().unwrap().to_owned();
        Self { folder, public }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a list with this number and these tables of servers.
    fn sign(&self, at: &Server, serial: u64, servers: &str) -> String {
        let draft = self.file(&format!("{serial}.toml"));
        let text = format!("name = \"Councils of the north\"\nserial = {serial}\n{servers}");
        fs::write(&draft, text).unwrap();
        let list = self.file(&format!("{serial}.json"));
        let (list, key) = (path(&list), path(&self.file("list.key")));
        let words = ["federation", "peers", "sign", &path(&draft), &list];
        at.cairn_json(&[&words[..], &["--key", &key]].concat());
        list
    }
}

fn path(file: &std::path::Path) -> String {
    file.to_str().unwrap().to_owned()
}

/// A server in a list.
fn entry(peer: &Peer, world: &World) -> String {
    format!(
        "[servers.{name:?}]\nkeys = [\"ed25519:1 {key}\"]\naddress = \"127.0.0.1:{port}\"\n\
         certificate_authority = {root:?}\n",
        name = peer.name,
        key = peer.key.public(),
        port = world.port(&peer.name),
        root = world.root(),
    )
}

/// The configuration of `a.test`, which knows the others by nothing but their names.
fn config(world: &World, more: &str) -> Config {
    let mut config = world.config("a.test", &format!("only_peer_list = true\n{more}"));
    let lines = config.more.lines();
    let lines = lines.filter(|line| {
        !line.starts_with("trusted_roots")
            && !line.starts_with("\"b.test\"")
            && !line.starts_with("\"c.test\"")
    });
    config.more = lines.map(|line| format!("{line}\n")).collect();
    config
}

fn error_of(server: &Server, words: &[&str]) -> String {
    let output = server.cairn(words);
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

// The command is waited for without letting others run: they need a thread of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_carried_by_hand_says_who_belongs_where_and_with_which_keys() {
    let world = World::of(&["a.test", "b.test", "c.test"]);
    let authority = Authority::new(&Server::start());
    let (b, c) = (
        Peer::start(&world, "b.test").await,
        Peer::start(&world, "c.test").await,
    );
    let key = format!("peer_list_key = {:?}", authority.public);
    let mut a = Server::with(config(&world, &key));
    let door = |a: &Server| harness::Api::new(&a.urls()[2]);
    a.api().register_as("alice").await;
    // Before there is a list, nobody is spoken to.
    b.get(&door(&a), "a.test", PROFILE)
        .await
        .refused(403, "M_FORBIDDEN");

    let first = authority.sign(&a, 1, &entry(&b, &world));
    let verified = a.cairn(&["federation", "peers", "verify", &first]);
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    for part in [
        "Signed by ed25519:",
        "Councils of the north",
        "b.test",
        "an authority",
    ] {
        let part = part.replace("an authority", "with a certificate authority of its own");
        assert!(text.contains(&part), "{part}: {text}");
    }
    let imported = a.cairn_json(&["federation", "peers", "import", &first]);
    assert_eq!(imported["was_in_force"], false);
    let again = a.cairn_json(&["federation", "peers", "import", &first]);
    assert_eq!(again["was_in_force"], true);
    b.get(&door(&a), "a.test", PROFILE).await.ok();
    c.get(&door(&a), "a.test", PROFILE)
        .await
        .refused(403, "M_FORBIDDEN");
    // It is reached at its address, with a certificate of its own authority.
    b.on(
        "/_matrix/federation/v1/query/profile",
        crate::peer::Behaviour::Json(200, serde_json::json!({ "displayname": "B" })),
    );
    let profile = a.api().get("v3/profile/@x:b.test").await.ok();
    assert_eq!(profile["displayname"], "B");
    assert_eq!((b.key_fetches(), c.key_fetches()), (0, 0));

    // A newer one takes its place; what was changed, or is older, does not.
    let both = format!("{}{}", entry(&b, &world), entry(&c, &world));
    let second = authority.sign(&a, 2, &both);
    let signed = fs::read_to_string(&second).unwrap();
    let changed = path(&authority.file("changed.json"));
    fs::write(&changed, signed.replace("127.0.0.1", "127.0.0.2")).unwrap();
    for verb in ["verify", "import"] {
        let error = error_of(&a, &["federation", "peers", verb, &changed]);
        assert!(error.contains("not signed by the authority"), "{error}");
    }
    a.cairn_json(&["federation", "peers", "import", &second]);
    c.get(&door(&a), "a.test", PROFILE).await.ok();
    let error = error_of(&a, &["federation", "peers", "import", &first]);
    assert!(error.contains("an older one is not taken"), "{error}");

    // It stays when the server starts again, and can be handed on as it is.
    a.restart();
    c.get(&door(&a), "a.test", PROFILE).await.ok();
    let copy = path(&authority.file("copy.json"));
    a.cairn_json(&["federation", "peers", "export", &copy]);
    assert_eq!(fs::read_to_string(&copy).unwrap(), signed);
    a.stop();
    let third = authority.sign(&a, 3, &entry(&b, &world));
    a.cairn_json(&["federation", "peers", "import", &third]);
    a.restart();
    let status = a.cairn_json(&["federation", "status"]);
    assert_eq!(status["list"]["serial"], 3, "{status}");
    c.get(&door(&a), "a.test", PROFILE)
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!((b.key_fetches(), c.key_fetches()), (0, 0));
}

/// Gives what it holds to whoever asks.
async fn shelf() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list", listener.local_addr().unwrap());
    let held: Arc<Mutex<Vec<u8>>> = Arc::default();
    let given = held.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = given.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    (url, held)
}

// As above.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_fetched_where_there_is_one_and_the_last_good_one_stays() {
    let world = World::of(&["a.test", "b.test"]);
    let authority = Authority::new(&Server::start());
    let b = Peer::start(&world, "b.test").await;
    let (url, held) = shelf().await;
    let more = format!(
        "peer_list_key = {:?}\npeer_list_url = {url:?}",
        authority.public
    );
    let serial =
        |a: &Server| -> Value { a.cairn_json(&["federation", "status"])["list"]["serial"].clone() };
    let until = async |a: &Server, expected: u64| {
        eventually("the list", 60, async || {
            (serial(a) == expected).then_some(())
        })
        .await;
    };
    let signer = Server::start();
    let older = authority.sign(&signer, 6, &entry(&b, &world));
    let newer = authority.sign(&signer, 7, &entry(&b, &world));
    *held.lock().unwrap() = fs::read(&newer).unwrap();
    let mut a = Server::with(config(&world, &more));
    until(&a, 7).await;
    let fetched = |a: &Server| {
        let text = fs::read_to_string(a.log_file()).unwrap();
        text.matches("no newer list of servers was taken").count()
    };
    // Neither an older one nor anything else takes its place.
    for wrong in [fs::read(&older).unwrap(), b"<html>".to_vec()] {
        *held.lock().unwrap() = wrong;
        let before = fetched(&a);
        a.restart();
        eventually("it was looked at", 60, async || {
            (fetched(&a) > before).then_some(())
        })
        .await;
        assert_eq!(serial(&a), 7);
    }
    let newest = authority.sign(&signer, 8, &entry(&b, &world));
    *held.lock().unwrap() = fs::read(&newest).unwrap();
    a.restart();
    until(&a, 8).await;
}
