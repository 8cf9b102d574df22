//! Each step of the specification's order, with a fake resolver.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use outgoing::{OutgoingError, Service};
use runtime::Random;

use super::name;
use crate::discovery::{Destination, DiscoveryError, Lookups, WellKnown, discover};

/// A world in which some hosts have a `.well-known` and some names have services.
#[derive(Default)]
struct World {
    well_known: HashMap<&'static str, &'static str>,
    services: HashMap<&'static str, Vec<Service>>,
    broken: Vec<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl World {
    fn says(mut self, host: &'static str, server: &'static str) -> Self {
        self.well_known.insert(host, server);
        self
    }

    fn offers(mut self, name: &'static str, places: &[(u16, u16, u16, &str)]) -> Self {
        let service = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Service {
            priority,
            weight,
            port,
            target: target.to_owned(),
        };
        let services = places.iter().map(service).collect();
        self.services.insert(name, services);
        self
    }

    fn breaks(mut self, name: &'static str) -> Self {
        self.broken.push(name);
        self
    }

    async fn find(&self, server: &str) -> Destination {
        let random = Random::seeded(1);
        let found = discover(&name(server), None, self, &random).await;
        found.unwrap()
    }
}

impl Lookups for World {
    async fn well_known(&self, host: &str) -> WellKnown {
        self.asked.lock().unwrap().push(format!("https://{host}"));
        match self.well_known.get(host) {
            Some(server) => WellKnown::Delegated(name(server)),
            None => WellKnown::Nothing("404".to_owned()),
        }
    }

    async fn services(&self, name: &str) -> Result<Vec<Service>, OutgoingError> {
        self.asked.lock().unwrap().push(name.to_owned());
        if self.broken.contains(&name) {
            return Err(OutgoingError::Name("broken".to_owned()));
        }
        Ok(self.services.get(name).cloned().unwrap_or_default())
    }
}

/// Server, world → targets, Host, name of the certificate, what was asked.
#[tokio::test]
async fn the_order_of_the_specification() {
    let fed = "_matrix-fed._tcp.a.test";
    let old = "_matrix._tcp.a.test";
    let world = World::default;
    for (step, server, world, targets, host, tls_name, asked) in [
        (
            "1",
            "1.2.3.4",
            world(),
            "1.2.3.4:8448",
            "1.2.3.4",
            "1.2.3.4",
            "",
        ),
        (
            "1 with a port",
            "1.2.3.4:8449",
            world(),
            "1.2.3.4:8449",
            "1.2.3.4:8449",
            "1.2.3.4",
            "",
        ),
        (
            "1 in IPv6",
            "[::1]",
            world(),
            "[::1]:8448",
            "[::1]",
            "[::1]",
            "",
        ),
        (
            "1 in IPv6 with a port",
            "[::1]:8",
            world(),
            "[::1]:8",
            "[::1]:8",
            "[::1]",
            "",
        ),
        (
            "2",
            "A.test:8449",
            world()
                .says("a.test", "b.test")
                .offers(fed, &[(1, 1, 1, "c.test")]),
            "a.test:8449",
            "a.test:8449",
            "a.test",
            "",
        ),
        (
            "3.1",
            "a.test",
            world().says("a.test", "1.2.3.4"),
            "1.2.3.4:8448",
            "1.2.3.4",
            "1.2.3.4",
            "https://a.test",
        ),
        (
            "3.1 with a port",
            "a.test",
            world().says("a.test", "1.2.3.4:443"),
            "1.2.3.4:443",
            "1.2.3.4:443",
            "1.2.3.4",
            "https://a.test",
        ),
        (
            "3.2",
            "a.test",
            world().says("a.test", "b.test:443"),
            "b.test:443",
            "b.test:443",
            "b.test",
            "https://a.test",
        ),
        (
            "3.3",
            "a.test",
            world()
                .says("a.test", "b.test")
                .offers("_matrix-fed._tcp.b.test", &[(1, 1, 9, "c.test")]),
            "c.test:9",
            "b.test",
            "b.test",
            "https://a.test _matrix-fed._tcp.b.test",
        ),
        (
            "3.4",
            "a.test",
            world()
                .says("a.test", "b.test")
                .offers("_matrix._tcp.b.test", &[(1, 1, 9, "c.test")]),
            "c.test:9",
            "b.test",
            "b.test",
            "https://a.test _matrix-fed._tcp.b.test _matrix._tcp.b.test",
        ),
        (
            "3.5",
            "a.test",
            // What stands under the name itself does not matter any more, nor does what
            // the delegate delegates.
            world()
                .says("a.test", "b.test")
                .says("b.test", "c.test")
                .offers(fed, &[(1, 1, 9, "d.test")]),
            "b.test:8448",
            "b.test",
            "b.test",
            "https://a.test _matrix-fed._tcp.b.test _matrix._tcp.b.test",
        ),
        (
            "4",
            "a.test",
            world()
                .offers(fed, &[(1, 1, 9, "c.test")])
                .offers(old, &[(1, 1, 9, "d.test")]),
            "c.test:9",
            "a.test",
            "a.test",
            "https://a.test _matrix-fed._tcp.a.test",
        ),
        (
            "5",
            "a.test",
            world().offers(old, &[(1, 1, 9, "d.test")]),
            "d.test:9",
            "a.test",
            "a.test",
            "https://a.test _matrix-fed._tcp.a.test _matrix._tcp.a.test",
        ),
        (
            "6",
            "a.test",
            world(),
            "a.test:8448",
            "a.test",
            "a.test",
            "https://a.test _matrix-fed._tcp.a.test _matrix._tcp.a.test",
        ),
        (
            "a name server that is broken for one name",
            "a.test",
            world().breaks(fed).offers(old, &[(1, 1, 9, "d.test")]),
            "d.test:9",
            "a.test",
            "a.test",
            "https://a.test _matrix-fed._tcp.a.test _matrix._tcp.a.test",
        ),
    ] {
        let found = world.find(server).await;
        let told = found.route.targets.iter();
        let told: Vec<String> = told.map(|(host, port)| format!("{host}:{port}")).collect();
        assert_eq!(told.join(" "), targets, "{step}");
        assert_eq!(found.host, host, "{step}");
        assert_eq!(found.route.tls_name, tls_name, "{step}");
        assert_eq!(world.asked.lock().unwrap().join(" "), asked, "{step}");
        assert!(!found.steps.is_empty(), "{step}");
    }
}

#[tokio::test]
async fn the_configuration_comes_first() {
    let world = World::default().says("a.test", "b.test");
    let place = "127.0.0.1:8449".parse().unwrap();
    for (server, host, tls_name) in [
        ("a.test", "a.test", "a.test"),
        ("a.test:1", "a.test:1", "a.test"),
    ] {
        let random = Random::seeded(1);
        let found = discover(
            &name(server),
            Some(("the configuration", place)),
            &world,
            &random,
        )
        .await;
        let found = found.unwrap();
        assert_eq!(found.route.targets, [("127.0.0.1".to_owned(), 8449)]);
        assert_eq!(
            (found.host.as_str(), found.route.tls_name.as_str()),
            (host, tls_name)
        );
    }
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_service_can_be_decidedly_not_offered() {
    let world = World::default().offers("_matrix-fed._tcp.a.test", &[(0, 0, 0, "")]);
    let random = Random::seeded(1);
    let refused = discover(&name("a.test"), None, &world, &random).await;
    let expected = DiscoveryError::NotOffered("_matrix-fed._tcp.a.test".to_owned());
    assert_eq!(refused.unwrap_err(), expected);
}

#[tokio::test]
async fn services_are_tried_by_priority_and_weight() {
    let places = [
        (20, 1, 3, "late.test"),
        (10, 30, 1, "heavy.test"),
        (10, 10, 2, "light.test"),
        (10, 0, 4, "weightless.test"),
    ];
    let world = World::default().offers("_matrix-fed._tcp.a.test", &places);
    let random = Random::seeded(7);
    let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..1_000 {
        let found = discover(&name("a.test"), None, &world, &random).await;
        let targets = found.unwrap().route.targets;
        assert_eq!(targets.len(), 4);
        assert_eq!(targets[3], ("late.test".to_owned(), 3), "{targets:?}");
        *firsts.entry(targets[0].0.clone()).or_default() += 1;
    }
    // 30, 10 and a little of 41 chances.
    assert!((650..800).contains(&firsts["heavy.test"]), "{firsts:?}");
    assert!((180..320).contains(&firsts["light.test"]), "{firsts:?}");
    assert!((5..60).contains(&firsts["weightless.test"]), "{firsts:?}");
}
