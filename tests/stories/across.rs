//! People on two servers, of which one may be Synapse, talk encrypted and verify each other,
//! while the link between the servers is cut and made whole again.

use harness::Synapse;
use harness::link::Link;
use harness::neighbours::{Neighbour, World};
use matrix_sdk::ruma::RoomId;

use crate::device::Device;
use crate::verification::verify_each_other;

/// So that a link that is whole again is noticed.
const SOON: &str = "retry_delay_max = 1";

/// The links before two servers.
struct Links([Link; 2]);

impl Links {
    /// For the servers of a world that have not started yet.
    async fn before(world: &mut World) -> Self {
        let names = [world.name(0).to_owned(), world.name(1).to_owned()];
        Self([world.link(&names[0]).await, world.link(&names[1]).await])
    }

    fn cut(&self) {
        self.0.iter().for_each(Link::cut);
    }

    fn heal(&self) {
        self.0.iter().for_each(Link::heal);
    }
}

/// Two servers with a link before each.
struct Two {
    _world: World,
    links: Links,
    a: Neighbour,
    b: Neighbour,
}

impl Two {
    async fn start() -> Self {
        let mut world = World::of(&["a.test", "b.test"]);
        Self {
            links: Links::before(&mut world).await,
            a: world.start_with("a.test", SOON),
            b: world.start_with("b.test", SOON),
            _world: world,
        }
    }
}

/// A Cairn and a Synapse with a link before each.
struct Pair {
    _world: World,
    links: Links,
    cairn: Neighbour,
    synapse: Synapse,
}

impl Pair {
    async fn start() -> Self {
        let mut world = World::local(2);
        let links = Links::before(&mut world).await;
        let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self {
            links,
            cairn: world.start_with(world.name(0), SOON),
            synapse: world.start_synapse(world.name(1), cache).await,
            _world: world,
        }
    }

    async fn on_cairn(&self, person: &str) -> Device {
        Device::register(&self.cairn.server.url(), person).await
    }

    async fn on_synapse(&self, person: &str) -> Device {
        Device::register(self.synapse.api().url(), person).await
    }
}

/// Each says something that nobody has said yet.
async fn speak(room: &RoomId, all: &[&Device], when: &str, said: &mut Vec<String>) {
    for speaker in all {
        let text = format!("{when} from {}", speaker.name);
        speaker.say(room, &text).await;
        said.push(text);
    }
}

async fn all_read(room: &RoomId, all: &[&Device], said: &[String]) {
    for text in said {
        for listener in all {
            listener.reads(room, text).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_two_servers_talk_in_private_though_the_link_breaks() {
    let mut two = Two::start().await;
    let alice = Device::register(&two.a.server.url(), "alice").await;
    let bob = Device::register(&two.b.server.url(), "bob").await;
    let bobs_phone = Device::sign_in(&two.b.server.url(), "bob").await;
    let all = [&alice, &bob, &bobs_phone];
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in all {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    let mut said = Vec::new();
    speak(&room, &all, "hello", &mut said).await;
    all_read(&room, &all, &said).await;
    // Apart, everybody goes on, and one of the servers starts again.
    two.links.cut();
    speak(&room, &all, "apart", &mut said).await;
    tokio::task::block_in_place(|| {
        two.a.server.kill9();
        two.a.server.restart();
    });
    two.links.heal();
    all_read(&room, &all, &said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_two_servers_verify_each_other() {
    let two = Two::start().await;
    let alice = Device::register(&two.a.server.url(), "alice").await;
    let bob = Device::register(&two.b.server.url(), "bob").await;
    verify_each_other(&alice, &bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_here_and_on_synapse_talk_in_private_though_the_link_breaks() {
    let mut pair = Pair::start().await;
    let (anna, sven) = (pair.on_cairn("anna").await, pair.on_synapse("sven").await);
    let all = [&anna, &sven];
    let mut rooms = Vec::new();
    for (host, guest) in [(&anna, &sven), (&sven, &anna)] {
        let room = host.direct_room(guest).await;
        guest.accept(&room).await;
        for device in all {
            device.sees_in(&room, &all).await;
        }
        let mut said = Vec::new();
        speak(&room, &all, "hello", &mut said).await;
        all_read(&room, &all, &said).await;
        rooms.push((room, said));
    }
    // Apart, both go on, and both servers start again.
    pair.links.cut();
    for (room, said) in &mut rooms {
        speak(room, &all, "apart", said).await;
    }
    tokio::task::block_in_place(|| {
        pair.cairn.server.kill9();
        pair.cairn.server.restart();
    });
    pair.synapse.restart().await;
    pair.links.heal();
    for (room, said) in &mut rooms {
        all_read(room, &all, said).await;
        speak(room, &all, "together", said).await;
        all_read(room, &all, said).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_here_and_on_synapse_verify_each_other() {
    let pair = Pair::start().await;
    let (anna, sven) = (pair.on_cairn("anna").await, pair.on_synapse("sven").await);
    verify_each_other(&anna, &sven).await;
    // The other asks first.
    let (anja, sigrid) = (pair.on_cairn("anja").await, pair.on_synapse("sigrid").await);
    verify_each_other(&sigrid, &anja).await;
}
