//! A disk that fills up while people write, and is freed again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Answer, Api, Config, Server, SmallDisk, User, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// How much there is altogether.
const DISK: u64 = 640 * MIB;
/// Below so much nothing is written, and no file taken.
const FOR_WRITES: u64 = 64 * MIB;
const FOR_FILES: u64 = 128 * MIB;
/// How long somebody waits after each message.
const PAUSE: Duration = Duration::from_millis(10);
/// Larger than what is kept as a row of the database.
const FILE_BYTES: usize = 40_000;

fn options(for_writes: u64, for_files: u64) -> Config {
    Config {
        more: format!(
            "[database]\nreserved_disk_bytes = {for_writes}\n\
             [media]\nreserved_disk_bytes = {for_files}\n\
             [well_known]\nsupport_email = \"help@council.example\"\n"
        ),
        ..Config::default()
    }
}

/// The words as a command takes them.
fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}

async fn health(api: &Api) -> Value {
    let request = api.request(Method::GET, "/_cairn/health");
    api.send_request(request).await.body
}

async fn upload(user: &User, byte: u8) -> Answer {
    let request = user
        .request(Method::POST, "/_matrix/media/v3/upload")
        .header("Content-Type", "application/octet-stream")
        .body(vec![byte; FILE_BYTES]);
    user.send_request(request).await
}

/// What people wrote and were told that it is there.
#[derive(Default)]
struct Written {
    events: Vec<String>,
    refused: usize,
}

/// People who write on whatever they are told, until they are stopped.
struct Writers {
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Written>>,
}

impl Writers {
    fn begin(people: &[User], room: &str) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let write = |user: &User| {
            let (user, room) = (user.clone(), room.to_owned());
            let (ends, acknowledged) = (ends.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut written = Written::default();
                while !ends.load(Ordering::Acquire) {
                    let content = json!({ "msgtype": "m.text", "body": "x".repeat(2_000) });
                    let path = format!("v3/rooms/{room}/send/m.room.message/{}", unique());
                    let request = user.request(Method::PUT, &path).json(&content);
                    match user.try_request(request).await {
                        Ok(answer) if answer.status == 200 => {
                            let event = answer.body["event_id"].as_str().unwrap();
                            written.events.push(event.to_owned());
                            acknowledged.fetch_add(1, Ordering::AcqRel);
                            tokio::time::sleep(PAUSE).await;
                        }
                        Ok(answer) => {
                            assert!(answer.status >= 500, "{answer:?}");
                            written.refused += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        // The server is gone.
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
                written
            })
        };
        let tasks = people.iter().map(write).collect();
        Self {
            ends,
            acknowledged,
            tasks,
        }
    }

    /// Waits until so many more were acknowledged.
    async fn more(&self, count: usize) {
        let before = self.acknowledged.load(Ordering::Acquire);
        eventually("more is written", 30, async || {
            let now = self.acknowledged.load(Ordering::Acquire);
            (now >= before + count).then_some(())
        })
        .await;
    }

    async fn end(self) -> Written {
        self.ends.store(true, Ordering::Release);
        let mut all = Written::default();
        for task in self.tasks {
            let written = task.await.unwrap();
            all.events.extend(written.events);
            all.refused += written.refused;
        }
        all
    }
}

/// A transaction id that nobody used.
fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("disk-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn gather(server: &Server) -> (Vec<User>, String) {
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        people.push(server.api().register_as(name).await);
    }
    let others: Vec<&User> = people[1..].iter().collect();
    let room = people[0].room_with(&others).await;
    (people, room)
}

/// The same session at the server's address of now.
fn again(server: &Server, user: &User) -> User {
    server.api().user_of(json!({
        "user_id": user.user_id, "device_id": user.device_id, "access_token": user.access_token,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_fills_up_under_people_who_write_and_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&folder.path().join("data"), DISK);
    let wrapper = disk.wrapper();
    let config = options(FOR_WRITES, FOR_FILES);
    let mut server = Server::on_under(folder.path(), config, &words(&wrapper));
    let (people, room) = gather(&server).await;
    let alice = &people[0];
    assert_eq!(health(alice).await["degraded"], false);
    let picture = upload(alice, 1).await.ok();
    let writers = Writers::begin(&people, &room);
    writers.more(50).await;

    for round in 0..3_u8 {
        // No more files, but everything else.
        disk.fill((FOR_WRITES + FOR_FILES) / 2);
        let refused = eventually("files are refused", 20, async || {
            let answer = upload(alice, round.wrapping_add(10)).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        let told = refused.refused(507, "M_RESOURCE_LIMIT_EXCEEDED");
        assert_eq!(told["admin_contact"], "mailto:help@council.example");
        writers.more(20).await;
        let said = health(alice).await;
        assert_eq!(
            (&said["ready"], &said["degraded"]),
            (&json!(true), &json!(true))
        );
        assert!(
            said["reasons"].to_string().contains("files are refused"),
            "{said}"
        );

        // Nothing new at all, but everything can be read.
        disk.fill(FOR_WRITES / 2 + 12 * MIB);
        let refused = eventually("messages are refused", 20, async || {
            let content = json!({ "msgtype": "m.text", "body": "is there room?" });
            let answer = alice.try_send_event(&room, "m.room.message", content).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        let told = refused.refused(507, "M_RESOURCE_LIMIT_EXCEEDED");
        assert_eq!(told["admin_contact"], "mailto:help@council.example");
        let anew = json!({ "username": "eve", "password": "correct horse", "auth": { "type": "m.login.dummy" } });
        let anew = server.api().post("v3/register", anew).await;
        anew.refused(507, "M_RESOURCE_LIMIT_EXCEEDED");
        let synced = alice.sync().await;
        assert!(!synced.timeline(&room).is_empty());
        let place = picture["content_uri"]
            .as_str()
            .unwrap()
            .strip_prefix("mxc://")
            .unwrap();
        let request = alice.request(Method::GET, &format!("v1/media/download/{place}"));
        assert_eq!(
            request.send().await.unwrap().bytes().await.unwrap().len(),
            FILE_BYTES
        );
        let said = health(alice).await;
        assert_eq!(
            (&said["ready"], &said["degraded"]),
            (&json!(true), &json!(true))
        );
        assert!(
            said["reasons"]
                .to_string()
                .contains("nothing new is written"),
            "{said}"
        );
        eventually("the metric", 20, async || {
            let request = alice.request(Method::GET, "/metrics");
            let text = alice.send_request(request).await.text;
            text.contains("cairn_disk_full 2").then_some(())
        })
        .await;

        // It goes on by itself.
        disk.clear();
        writers.more(50).await;
        upload(alice, round.wrapping_add(100)).await.ok();
        assert_eq!(health(alice).await["degraded"], false);
    }
    let written = writers.end().await;
    assert!(written.refused >= 3, "{} were refused", written.refused);
    assert!(server.ended().is_none());

    // What was acknowledged is on the disk.
    server.kill9();
    server.restart_under(&words(&wrapper));
    let alice = again(&server, alice);
    for event in &written.events {
        alice.event(&room, event).await.ok();
    }
    eprintln!(
        "{} messages were acknowledged, {} refused",
        written.events.len(),
        written.refused
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_reserve_that_meets_the_end_of_the_disk_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&folder.path().join("data"), DISK);
    let wrapper = disk.wrapper();
    let mut server = Server::on_under(folder.path(), options(0, 0), &words(&wrapper));
    let (people, room) = gather(&server).await;
    let writers = Writers::begin(&people, &room);
    writers.more(20).await;
    disk.fill(0);
    let failed = eventually("writing has stopped", 60, async || {
        let said = health(&people[0]).await;
        let stopped = said["reasons"]
            .to_string()
            .contains("nothing is written until");
        stopped.then_some(said)
    })
    .await;
    assert_eq!(failed["ready"], false, "{failed}");
    let sent = people[0]
        .try_send_event(&room, "m.room.message", json!({}))
        .await;
    sent.refused(500, "M_UNKNOWN");
    disk.clear();
    let status = eventually("it ends by itself", 60, async || server.ended()).await;
    assert!(!status.success(), "the service manager starts it again");
    let written = writers.end().await;
    server.kill9();
    server.restart_under(&words(&wrapper));
    let alice = again(&server, &people[0]);
    for event in &written.events {
        alice.event(&room, event).await.ok();
    }
    alice.say(&room, "here we are again").await;
}
