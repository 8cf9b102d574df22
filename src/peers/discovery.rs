//! From a server's name to the place where it listens (server-server API, "Resolving
//! server names").

use std::net::{IpAddr, SocketAddr};

use outgoing::{OutgoingError, Route, Service};
use ruma_common::{OwnedServerName, ServerName};
use runtime::Random;

/// The port of servers whose name says nothing else.
const PORT: u16 = 8448;
/// The names of the service that servers offer: the one of the specification, and the
/// one that it deprecates.
const SERVICES: [&str; 2] = ["_matrix-fed._tcp", "_matrix._tcp"];

/// What discovery asks of the world.
pub(crate) trait Lookups: Sync {
    /// What `/.well-known/matrix/server` of a host says.
    fn well_known(&self, host: &str) -> impl Future<Output = WellKnown> + Send;

    /// The places of a service; none if there is no such record.
    fn services(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Service>, OutgoingError>> + Send;
}

/// What a host says in `/.well-known/matrix/server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WellKnown {
    /// Another server speaks for it.
    Delegated(OwnedServerName),
    /// Nothing that can be used, and why.
    Nothing(String),
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The places, and whom the certificate must be for.
    pub(crate) route: Route,
    /// The `Host` of requests.
    pub(crate) host: String,
    /// How this was found, a sentence for each step.
    pub(crate) steps: Vec<String>,
}

/// Why a server has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Its DNS says so (RFC 2782: a target of `.`).
    #[error("{0} says in DNS that it offers no federation")]
    NotOffered(String),
}

/// Finds where a server is reached. `place` is what the configuration or the list of servers
/// says of it, after who says so.
pub(crate) async fn discover(
    server: &ServerName,
    place: Option<(&str, SocketAddr)>,
    lookups: &impl Lookups,
    random: &Random,
) -> Result<Destination, DiscoveryError> {
    if let Some((who, place)) = place {
        let step = format!("{who} says: {place}");
        let target = (place.ip().to_string(), place.port());
        return Ok(destination(server, vec![target], vec![step]));
    }
    // Steps 1 and 2.
    if let Some(found) = named_place(server, Vec::new()) {
        return Ok(found);
    }
    // Step 3.
    let mut steps = Vec::new();
    match lookups.well_known(server.host()).await {
        WellKnown::Delegated(delegated) => {
            steps.push(format!(".well-known says: {delegated}"));
            match named_place(&delegated, steps.clone()) {
                Some(found) => Ok(found),
                None => by_service(&delegated, lookups, random, steps).await,
            }
        }
        WellKnown::Nothing(why) => {
            steps.push(format!(".well-known says nothing: {why}"));
            by_service(server, lookups, random, steps).await
        }
    }
}

/// Steps 1, 2, 3.1 and 3.2: the name is an address, or has a port.
pub(crate) fn named_place(name: &ServerName, mut steps: Vec<String>) -> Option<Destination> {
    let is_address = is_address(name);
    if !is_address && name.port().is_none() {
        return None;
    }
    let port = name.port().unwrap_or(PORT);
    steps.push(format!(
        "{name} {}",
        match (is_address, name.port()) {
            (true, None) => "is an address, with port 8448",
            (true, Some(_)) => "is an address with its port",
            (false, _) => "names its port",
        }
    ));
    let target = (name.host().to_ascii_lowercase(), port);
    Some(destination(name, vec![target], steps))
}

/// Steps 3.3 to 3.5 and 4 to 6: the name is a host alone.
async fn by_service(
    name: &ServerName,
    lookups: &impl Lookups,
    random: &Random,
    mut steps: Vec<String>,
) -> Result<Destination, DiscoveryError> {
    let host = name.host().to_ascii_lowercase();
    for service in SERVICES {
        let asked = format!("{service}.{host}");
        match lookups.services(&asked).await {
            Ok(found) if found.is_empty() => steps.push(format!("there is no SRV {asked}")),
            Ok(found) => {
                let mut places = in_order(found, random);
                places.retain(|(target, _)| !target.is_empty());
                if places.is_empty() {
                    return Err(DiscoveryError::NotOffered(asked));
                }
                let told = places
                    .iter()
                    .map(|(target, port)| format!("{target}:{port}"));
                let told: Vec<String> = told.collect();
                steps.push(format!("SRV {asked} says: {}", told.join(", ")));
                return Ok(destination(name, places, steps));
            }
            // Nobody could say: as if there were none, so that a broken name server of one
            // record does not cut off a server that has another way.
            Err(error) => steps.push(format!("SRV {asked} is unknown: {error}")),
        }
    }
    steps.push(format!("so it is {host} with port 8448"));
    Ok(destination(name, vec![(host, PORT)], steps))
}

fn destination(name: &ServerName, targets: Vec<(String, u16)>, steps: Vec<String>) -> Destination {
    let tls_name = name.host().to_ascii_lowercase();
    Destination {
        route: Route {
            targets,
            tls_name,
            authorities: None,
        },
        host: name.as_str().to_ascii_lowercase(),
        steps,
    }
}

/// ruma takes a host such as `1.2.3` for a name, and so does this.
fn is_address(name: &ServerName) -> bool {
    let host = name.host();
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok()
}

/// The order in which places are tried: by priority, and within one by chance, the
/// heavier ones first more often (RFC 2782, "Weight").
fn in_order(mut services: Vec<Service>, random: &Random) -> Vec<(String, u16)> {
    // Those without weight come first, so that they have a small chance at all.
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut ordered = Vec::new();
    while let Some(first) = services.first() {
        let priority = first.priority;
        let same = services
            .iter()
            .take_while(|service| service.priority == priority);
        let weights: Vec<u64> = same.map(|service| u64::from(service.weight)).collect();
        let sum: u64 = weights.iter().sum();
        let mut chosen = random.number() % (sum + 1);
        let index = weights
            .iter()
            .position(|weight| match chosen.checked_sub(*weight) {
                Some(rest) if rest > 0 => {
                    chosen = rest;
                    false
                }
                _ => true,
            });
        let service = services.remove(index.unwrap_or(0));
        ordered.push((service.target.to_ascii_lowercase(), service.port));
    }
    ordered
}
