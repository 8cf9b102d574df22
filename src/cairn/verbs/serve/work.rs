//! What the running server does beside answering, each as a task with a name.

use std::{convert::Infallible, time::Duration};

use delivery::{Federation, FederationParts, Push, PushParts};
use runtime::{Metrics, Tasks};
use store::Store;

use super::{Server, doors::Served};
use crate::{oversight::repeat, parts::Parts};

/// How often what is not needed any more is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How often the device lists of those are forgotten with whom no room is shared any more.
const STRANGERS_EVERY: Duration = Duration::from_secs(3_600);
/// How often long unread counts are written down.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often the log is told where the audit trail ends.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the log keeps what every consumer has read, in ms.
const LOG_AGE: u64 = 60 * 60 * 1000;

/// Begins all of it.
pub(super) fn begin(parts: &Parts, served: &Served, server: &Server, metrics: &Metrics) {
    let tasks = &server.tasks;
    settle(parts, tasks);
    sweep(parts, tasks);
    deliver(parts, server, metrics);
    follow_devices(parts, tasks);
    look_after_people(parts, tasks);
    follow_audit(parts, server);
    expire(parts, served, tasks);
    let search = served.client.search.clone();
    tasks.spawn("search", |stop| search.run(stop));
    let appservices = served.client.appservices.clone();
    tasks.spawn("appservices", |stop| appservices.run(stop));
    let accounts = parts.accounts.clone();
    tasks.spawn("complete-user-directory", move |stop| async move {
        if let Err(error) = accounts.complete_user_directory(stop).await {
            log::error!("the user directory is not complete, until a restart: {error}");
        }
    });
}

/// Ends what has had its time: previews, presence, typing, files that nothing names.
fn expire(parts: &Parts, served: &Served, tasks: &Tasks) {
    let previews = served.client.previews.clone();
    repeat(tasks, "forget-previews", SWEEP_EVERY, move || {
        let previews = previews.clone();
        async move { previews.sweep().await }
    });
    let rooms = parts.rooms.clone();
    tasks.spawn("expire-presence", move |stop| async move {
        rooms.expire_presence(stop).await;
    });
    let rooms = parts.rooms.clone();
    tasks.spawn("expire-typing", move |stop| async move {
        rooms.expire_typing(stop).await;
    });
    let media = parts.media.clone();
    tasks.spawn("sweep-media", move |stop| async move {
        media.sweep(stop).await;
    });
}

/// Has memberships and power levels written into the audit trail, and tells the log each day
/// where the trail ends: whoever keeps the log elsewhere can prove the trail.
fn follow_audit(parts: &Parts, server: &Server) {
    let (store, clock) = (parts.store.clone(), parts.clock.clone());
    let name = server.config.server_name.clone();
    let rooms = parts.rooms.clone();
    server
        .tasks
        .spawn("complete-register", move |stop| async move {
            if let Err(error) = rooms.complete_register(stop).await {
                log::error!("the register is not complete, until a restart: {error}");
            }
        });
    server
        .tasks
        .spawn("audit", move |stop| audit::follow(store, name, clock, stop));
    tell_audit_head(&parts.store);
    let store = parts.store.clone();
    repeat(&server.tasks, "tell-audit-head", DAY, move || {
        tell_audit_head(&store);
        std::future::ready(Ok::<_, Infallible>(()))
    });
}

fn tell_audit_head(store: &Store) {
    match audit::head(&store.snapshot()) {
        Ok(head) => {
            let hash = audit::hexadecimal(&head.hash);
            log::info!(entries = head.entries, hash = hash.as_str(); "the audit trail ends here");
        }
        Err(error) => log::error!("the end of the audit trail cannot be read: {error}"),
    }
}

/// Starts the readers that tell others.
fn deliver(parts: &Parts, server: &Server, metrics: &Metrics) {
    let push_parts = PushParts {
        store: parts.store.clone(),
        accounts: parts.accounts.clone(),
        rooms: parts.rooms.clone(),
        outgoing: parts.outgoing.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tasks: server.tasks.clone(),
    };
    let push = Push::new(push_parts, server.config.push.clone(), metrics);
    server.tasks.spawn("push", |stop| push.run(stop));
    let federation_parts = FederationParts {
        store: parts.store.clone(),
        rooms: parts.rooms.clone(),
        peers: parts.peers.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tasks: server.tasks.clone(),
    };
    let peers = parts.peers.clone();
    server
        .tasks
        .spawn("peer-list", |stop| peers.follow_list(stop));
    let options = server.config.federation.clone();
    let federation = Federation::new(federation_parts, options, metrics);
    server
        .tasks
        .spawn("federation", |stop| federation.run(stop));
}

/// Brings what is stored to what this version and its options say, in the background.
fn settle(parts: &Parts, tasks: &Tasks) {
    let accounts = parts.accounts.clone();
    tasks.spawn("settle-push-rules", move |stop| async move {
        let settled = tokio::select! {
            () = stop.stopped() => return,
            settled = accounts.settle_push_rules() => settled,
        };
        match settled {
            Ok(0) => {}
            Ok(count) => log::info!("{count} accounts got the push rules of now"),
            Err(error) => log::error!("push rules could not be brought up to date: {error}"),
        }
    });
}

/// Begins the work that is done in its time: delayed events are sent, the log is kept as short as its consumers
/// allow, transaction ids are forgotten, long unread counts written down.
fn sweep(parts: &Parts, tasks: &Tasks) {
    let rooms = parts.rooms.clone();
    tasks.spawn("send-delayed-events", move |stop| async move {
        rooms.send_delayed(stop).await;
    });
    let (store, clock) = (parts.store.clone(), parts.clock.clone());
    repeat(tasks, "trim-log", SWEEP_EVERY, move || {
        let (store, before) = (store.clone(), clock.now().0.saturating_sub(LOG_AGE));
        async move { store::trim(&store, before).await.map(drop) }
    });
    let store = parts.store.clone();
    repeat(tasks, "give-back-disk", SWEEP_EVERY, move || {
        let store = store.clone();
        async move { store.give_back().await }
    });
    let rooms = parts.rooms.clone();
    repeat(tasks, "forget-transactions", SWEEP_EVERY, move || {
        let rooms = rooms.clone();
        async move { rooms.forget_transactions().await.map(drop) }
    });
    let rooms = parts.rooms.clone();
    repeat(
        tasks,
        "forget-delayed-and-sticky-events",
        SWEEP_EVERY,
        move || {
            let rooms = rooms.clone();
            async move {
                rooms.forget_sticky().await?;
                rooms.forget_delayed().await
            }
        },
    );
    let rooms = parts.rooms.clone();
    repeat(tasks, "keep-unread-counts", KEEP_EVERY, move || {
        let rooms = rooms.clone();
        async move { rooms.keep_unread_counts().await }
    });
}

/// Brings people into the rooms of their departments, tells whose accounts end, and goes on with
/// accounts whose closing broke off.
fn look_after_people(parts: &Parts, tasks: &Tasks) {
    let actions = parts.actions.clone();
    tasks.spawn("place-people", move |stop| async move {
        actions.place_people(stop).await;
    });
    let actions = parts.actions.clone();
    tasks.spawn("tell-ends-of-accounts", move |stop| async move {
        actions.tell_ends(stop).await;
    });
    let actions = parts.actions.clone();
    tasks.spawn("close-accounts", move |stop| async move {
        actions.finish_closings(stop).await;
    });
}

/// Keeps the device lists of other servers' users with whom rooms are shared.
fn follow_devices(parts: &Parts, tasks: &Tasks) {
    let actions = parts.actions.clone();
    tasks.spawn("fetch-device-lists", move |stop| async move {
        actions.fetch_device_lists(stop).await;
    });
    let actions = parts.actions.clone();
    tasks.spawn("complete-rooms", move |stop| async move {
        actions.complete_rooms(stop).await;
    });
    let accounts = parts.accounts.clone();
    repeat(
        tasks,
        "forget-strangers-devices",
        STRANGERS_EVERY,
        move || {
            let accounts = accounts.clone();
            async move { accounts.forget_strangers_devices().await.map(drop) }
        },
    );
}
