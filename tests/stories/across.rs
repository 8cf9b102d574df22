//! People on two servers talk encrypted and verify each other, while the link between the
//! servers is cut and made whole again.

use harness::link::Link;
use harness::neighbours::{Neighbour, World};

use crate::device::Device;
use crate::verification::verify_each_other;

/// Two servers with a link before each.
struct Two {
    _world: World,
    links: [Link; 2],
    a: Neighbour,
    b: Neighbour,
}

impl Two {
    async fn start() -> Self {
        let mut world = World::of(&["a.test", "b.test"]);
        let links = [world.link("a.test").await, world.link("b.test").await];
        let soon = "retry_delay_max = 1";
        Self {
            links,
            a: world.start_with("a.test", soon),
            b: world.start_with("b.test", soon),
            _world: world,
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
    for speaker in all {
        let text = format!("hello from {}", speaker.name);
        speaker.say(&room, &text).await;
        said.push(text);
    }
    for text in &said {
        for listener in all {
            listener.reads(&room, text).await;
        }
    }
    // Apart, everybody goes on, and one of the servers starts again.
    two.links.iter().for_each(Link::cut);
    for speaker in all {
        let text = format!("apart from {}", speaker.name);
        speaker.say(&room, &text).await;
        said.push(text);
    }
    tokio::task::block_in_place(|| {
        two.a.server.kill9();
        two.a.server.restart();
    });
    two.links.iter().for_each(Link::heal);
    for text in &said {
        for listener in all {
            listener.reads(&room, text).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_two_servers_verify_each_other() {
    let two = Two::start().await;
    let alice = Device::register(&two.a.server.url(), "alice").await;
    let bob = Device::register(&two.b.server.url(), "bob").await;
    verify_each_other(&alice, &bob).await;
}
