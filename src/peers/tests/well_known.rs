//! `.well-known` documents of a small web server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use outgoing::{Outgoing, OutgoingOptions};
use runtime::{Clock, Metrics, Tasks};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{NOW, name};
use crate::{discovery::WellKnown, well_known::WellKnowns};

const DAY: u64 = 86_400_000;

/// A web server that answers by the host in the path, and counts.
struct Web {
    asked: Arc<AtomicUsize>,
    well_knowns: WellKnowns,
    clock: Clock,
    _tasks: Tasks,
}

fn answer(path: &str) -> String {
    let with = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
    };
    let document = r#"{"m.server":"b.test:443"}"#;
    match path.split('/').nth(1).unwrap_or_default() {
        "good.test" => with("200", "", document),
        "short.test" => with("200", "cache-control: max-age=600\r\n", document),
        "moved.test" => with("301", "location: /good.test/x\r\n", ""),
        "loop.test" => with("302", "location: /loop.test/x\r\n", ""),
        "away.test" => with("302", "location: http://10.0.0.1/\r\n", ""),
        "long.test" => with("200", "", &format!("{document}{}", " ".repeat(60_000))),
        "html.test" => with("200", "", "<html>"),
        "down.test" => with("503", "", ""),
        _ => with("404", "", document),
    }
}

impl Web {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let (tasks, asked) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        tasks.spawn("web", |_| async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut read = vec![0; 4_096];
                let count = stream.read(&mut read).await.unwrap();
                let text = String::from_utf8_lossy(&read[..count]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                counted.fetch_add(1, Ordering::SeqCst);
                // Each answer on a connection of its own.
                let text = answer(path).replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        let options = OutgoingOptions {
            private_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..OutgoingOptions::default()
        };
        let outgoing = Outgoing::new(&options, &Metrics::new()).unwrap();
        let clock = Clock::manual(NOW);
        let mut well_knowns = WellKnowns::new(outgoing, clock.clone());
        well_knowns.base = Some(base.parse().unwrap());
        Self {
            asked,
            well_knowns,
            clock,
            _tasks: tasks,
        }
    }

    async fn of(&self, host: &str) -> WellKnown {
        self.well_knowns.of(host).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_hosts_say_is_found_within_bounds() {
    let web = Web::start().await;
    let delegated = WellKnown::Delegated(name("b.test:443"));
    for (host, is_found) in [
        ("good.test", true),
        ("moved.test", true),
        ("loop.test", false),
        ("away.test", false),
        ("long.test", false),
        ("html.test", false),
        ("down.test", false),
        ("none.test", false),
    ] {
        let found = web.of(host).await;
        assert_eq!(found == delegated, is_found, "{host}: {found:?}");
    }
    let before = web.asked();
    // One request, and ten redirects.
    web.clock.advance(2 * DAY);
    web.of("loop.test").await;
    assert_eq!(web.asked() - before, 11);
}

#[tokio::test]
async fn what_hosts_say_is_remembered() {
    let web = Web::start().await;
    for (host, lifetime) in [
        ("good.test", DAY),
        ("short.test", 600_000),
        ("none.test", 300_000),
    ] {
        let before = web.asked();
        let loud = host.to_uppercase();
        let (one, other) = tokio::join!(web.of(host), web.of(&loud));
        assert_eq!(one, other);
        web.clock.advance(lifetime - 1);
        web.of(host).await;
        assert_eq!(web.asked(), before + 1, "{host}");
        web.clock.advance(1);
        web.of(host).await;
        assert_eq!(web.asked(), before + 2, "{host}");
    }
}
