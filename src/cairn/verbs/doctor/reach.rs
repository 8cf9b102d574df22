//! Whether apps get here, and to the servers for calls: by names, addresses and connections, as
//! far as that can be seen from this machine.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, Method, Uri};
use outgoing::{Answer, Outgoing, OutgoingError, Request};
use runtime::{Metrics, Random};
use serde_json::Value;
use tokio::net::{TcpStream, UdpSocket};

use super::Findings;
use crate::config::Config;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are looked at.
const MOST: usize = 64 << 10;
/// The port of servers for calls, if none is named: plain, and with TLS.
const TURN: u16 = 3478;
const TURNS: u16 = 5349;

/// Checks names, signing in and calls.
pub(super) async fn check(config: &Config, findings: &mut Findings) {
    let outgoing = match outgoing(config) {
        Ok(outgoing) => outgoing,
        Err(error) => {
            findings.wrong("outgoing", error.to_string());
            return;
        }
    };
    sign_in(config, &outgoing, findings).await;
    calls(config, &outgoing, findings).await;
}

/// A client that trusts whom apps trust: the root that the server hands out, too.
fn outgoing(config: &Config) -> Result<Outgoing, outgoing::RootsError> {
    let mut options = config.outgoing.clone();
    let root = config.data_dir.join(certificates::FOLDER).join("root.pem");
    if !config.certificates.names.is_empty() && root.exists() {
        options.trusted_roots.push(root);
    }
    Outgoing::new(&options, &Metrics::new())
}

async fn get(outgoing: &Outgoing, url: &str) -> Result<Answer, OutgoingError> {
    let request = Request {
        purpose: "doctor",
        method: Method::GET,
        url: url.parse().map_err(|_| OutgoingError::Url)?,
        route: None,
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
        plain_http: true,
        redirects: 0,
        timeout: PATIENCE,
        answer_limit: MOST,
    };
    outgoing.send_configured(request).await
}

fn field(answer: &Answer, path: &str) -> Option<Value> {
    let page: Value = serde_json::from_slice(&answer.body).ok()?;
    page.pointer(path).cloned()
}

/// Whether apps find the server at the address that they are sent to.
async fn sign_in(config: &Config, outgoing: &Outgoing, findings: &mut Findings) {
    let client = config.well_known.client.trim_end_matches('/');
    if client.is_empty() {
        findings.wrong(
            "sign-in",
            "apps find the server only by its own address: set `client` in [well_known] to it, https://matrix.council.example for instance",
        );
        return;
    }
    let uri: Option<Uri> = client.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    if !is_address(host) {
        match outgoing.configured_addresses(host).await {
            Ok(found) => findings.well("DNS", format!("{host} is {}", list(&found))),
            Err(error @ OutgoingError::NoName(_)) => {
                findings.wrong("DNS", format!("{error}: add it to your DNS"));
            }
            Err(error) => findings.unknown("DNS", format!("{host}: {error}")),
        }
    }
    let told = format!("apps are sent to {client}");
    match get(outgoing, &format!("{client}/_matrix/client/versions")).await {
        Ok(answer) if field(&answer, "/versions").is_some() => {
            findings.well("sign-in", format!("{told}, where the server answers"));
        }
        Ok(answer) => findings.wrong(
            "sign-in",
            format!(
                "{told}, where something else answers ({}): let the reverse proxy pass /_matrix on to this server",
                answer.status
            ),
        ),
        Err(OutgoingError::NoName(_)) => {
            findings.wrong("sign-in", format!("{told}, and nothing has this name"));
        }
        // Not every network lets its own machines come back in from outside.
        Err(error @ (OutgoingError::Name(_) | OutgoingError::Timeout)) => {
            findings.unknown("sign-in", format!("{told}: {error}, seen from here"));
        }
        Err(error) => findings.wrong(
            "sign-in",
            format!("{told}: {error}. Look at the firewall, the reverse proxy and the certificate"),
        ),
    }
    if host != config.server_name.host() {
        discovery(config, client, outgoing, findings).await;
    }
}

/// Whether apps find the server that are told its name alone.
async fn discovery(config: &Config, client: &str, outgoing: &Outgoing, findings: &mut Findings) {
    let name = config.server_name.host();
    let page = format!("https://{name}/.well-known/matrix/client");
    let why = match get(outgoing, &page).await {
        Ok(answer) => match field(&answer, "/m.homeserver/base_url") {
            Some(Value::String(found)) if found.trim_end_matches('/') == client => {
                findings.well(
                    "sign-in",
                    format!("apps that are told {name} find {client}"),
                );
                return;
            }
            Some(found) => format!("it sends them to {found}"),
            None => format!("it answers {}", answer.status),
        },
        Err(error) => error.to_string(),
    };
    findings.unknown(
        "sign-in",
        format!(
            "apps that are told only {name} may not find the server ({why}): let people type {client}, or have {page} answered as this server answers it"
        ),
    );
}

/// Whether the servers for calls answer.
async fn calls(config: &Config, outgoing: &Outgoing, findings: &mut Findings) {
    let (turn, rtc) = (&config.turn.uris, &config.rtc.livekit_service_urls);
    if turn.is_empty() && rtc.is_empty() {
        findings.wrong(
            "calls",
            "there is no server for calls: people in different networks will not hear each other. Set [turn] or [rtc]",
        );
    }
    for uri in turn {
        match turn_answers(uri, outgoing).await {
            Ok(()) => findings.well("calls", format!("{uri} answers")),
            Err(error @ OutgoingError::Name(_)) => {
                findings.unknown("calls", format!("{uri}: {error}"));
            }
            Err(error) => findings.wrong(
                "calls",
                format!("{uri}: {error}. Start it, and look at the firewall"),
            ),
        }
    }
    for url in rtc {
        match get(outgoing, url).await {
            Ok(_) => findings.well("calls", format!("{url} answers")),
            Err(error @ OutgoingError::Name(_)) => {
                findings.unknown("calls", format!("{url}: {error}"));
            }
            Err(error) => findings.wrong("calls", format!("{url}: {error}. Start it")),
        }
    }
}

/// Asks a server for calls whether it is there: by a request that anybody may make (RFC 8489,
/// binding), or by a connection where it speaks over one.
async fn turn_answers(uri: &str, outgoing: &Outgoing) -> Result<(), OutgoingError> {
    let (scheme, rest) = uri.split_once(':').ok_or(OutgoingError::Url)?;
    let (place, how) = rest.split_once('?').unwrap_or((rest, ""));
    let is_tls = matches!(scheme, "turns" | "stuns");
    let usual = if is_tls { TURNS } else { TURN };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| OutgoingError::Url)?)
        }
        _ => (place, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = outgoing.configured_addresses(host).await?;
    let address = found.first().ok_or(OutgoingError::Url)?;
    let address = SocketAddr::new(*address, port);
    let asked = async {
        match is_tls || how == "transport=tcp" {
            true => TcpStream::connect(address).await.map(drop),
            false => bind(address).await,
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => Err(OutgoingError::Timeout),
        Ok(answered) => answered.map_err(|error| OutgoingError::Connection(error.into())),
    }
}

async fn bind(address: SocketAddr) -> std::io::Result<()> {
    let own = match address {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    let number: [u8; 12] = Random::system().bytes();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], number.as_slice()].concat();
    socket.send(&request).await?;
    let mut answer = [0; 1_500];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer.get(8..20) == Some(&number) && length >= 20 {
            return Ok(());
        }
    }
}

fn is_address(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok()
}

fn list(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    shown.join(", ")
}
