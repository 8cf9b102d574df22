//! From the link of an invitation to the first encrypted message.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Config, PASSWORD, Registration, Server};

use crate::device::Device;

/// What the machines may take of a colleague's time, all together.
const LIMIT: Duration = Duration::from_secs(10);

/// A server that is joined by invitation and tells everybody its true address, in links
/// and to clients.
fn council(folder: &std::path::Path) -> Server {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address").to_string();
    drop(free);
    let config = Config {
        registration: Registration::Invite,
        more: format!("[well_known]\nclient = \"http://{address}\""),
        ..Config::default()
    };
    let text = config.text(&folder.join("data"), &address);
    std::fs::write(folder.join("cairn.toml"), text).expect("the configuration");
    Server::with_file(folder)
}

/// Creates an invitation as an operator does, and gives the path of its link.
fn link(server: &Server) -> String {
    let invitation = server.cairn_json(&["invite", "create"]);
    let link = invitation["link"].as_str().expect("a link");
    let path = link.strip_prefix(&server.url());
    path.unwrap_or_else(|| panic!("{link}")).to_owned()
}

/// Opens the link in a browser, fills in the form, follows to the last page, and signs
/// in with a client.
async fn join(server: &Server, link: &str, name: &str) -> Device {
    let browser = server.visitor();
    let page = browser.open(link).await;
    page.shows(200, &["Create my account", "name=\"password\""]);
    let fields = [("name", name), ("password", PASSWORD), ("again", PASSWORD)];
    let done = browser.submit(link, &fields).await;
    assert_eq!(done.status, 303, "{done:?}");
    let next = done.header("Location").replace("../", "/");
    let page = browser.open(&next).await;
    page.shows(200, &[&format!("Welcome, {name}"), &server.url()]);
    Device::sign_in(&server.url(), name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_colleague_who_opens_a_link_is_read_within_ten_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = council(folder.path());
    let first = link(&server);
    let alice = join(&server, &first, "alice").await;
    alice.set_up_cross_signing().await;
    let second = link(&server);

    let begun = Instant::now();
    let bob = join(&server, &second, "bob").await;
    bob.set_up_cross_signing().await;
    let room = bob.direct_room(&alice).await;
    alice.accept(&room).await;
    bob.sees_in(&room, &[&alice, &bob]).await;
    bob.say(&room, "good morning, I am new here").await;
    alice.reads(&room, "good morning, I am new here").await;
    let taken = begun.elapsed();
    assert!(
        taken < LIMIT,
        "{taken:?} from the link to the first message"
    );

    alice.say(&room, "welcome").await;
    bob.reads(&room, "welcome").await;
}
