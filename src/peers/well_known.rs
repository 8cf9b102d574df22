//! `/.well-known/matrix/server` of other hosts, and how long what it says holds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use outgoing::{Outgoing, Request};
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Timestamp};
use serde::Deserialize;
use url::Url;

use crate::discovery::WellKnown;

/// The longest document, in bytes: it holds one name.
const MAX_BYTES: usize = 50_000;
/// How many redirects are followed.
const MAX_REDIRECTS: u8 = 10;
/// How long the whole exchange may take.
const TIME: Duration = Duration::from_secs(10);
/// How long an answer holds that does not say it.
const USUAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that an answer holds, whatever it says.
const LONGEST: Duration = Duration::from_secs(48 * 60 * 60);
/// The shortest: nobody can have a host asked again and again.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
/// How long "nothing" holds at first; doubled up to [`NOTHING_LONGEST`].
const NOTHING: Duration = Duration::from_secs(5 * 60);
/// The longest that "nothing" holds.
const NOTHING_LONGEST: Duration = Duration::from_secs(60 * 60);
/// The most hosts that are remembered.
const MOST_HOSTS: usize = 10_000;

/// What is known of one host. Who asks for it while it is being fetched, waits for that.
type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

#[derive(Clone, Debug)]
struct Known {
    said: WellKnown,
    until: Timestamp,
    /// How often in a row the host could not be asked.
    failures: u32,
    /// When it last said something.
    said_at: Timestamp,
}

/// What hosts say, remembered.
pub(crate) struct WellKnowns {
    outgoing: Outgoing,
    clock: Clock,
    hosts: Mutex<HashMap<String, Slot>>,
    /// Where the documents are, in tests.
    #[cfg(test)]
    pub(crate) base: Option<Url>,
}

impl WellKnowns {
    pub(crate) fn new(outgoing: Outgoing, clock: Clock) -> Self {
        Self {
            outgoing,
            clock,
            hosts: Mutex::default(),
            #[cfg(test)]
            base: None,
        }
    }

    /// What `host` says, asked at most once at a time and remembered as long as it may be.
    pub(crate) async fn of(&self, host: &str) -> WellKnown {
        let slot = self.slot(&host.to_ascii_lowercase());
        let mut known = slot.lock().await;
        let now = self.clock.now();
        if let Some(known) = known.as_ref()
            && known.until > now
        {
            return known.said.clone();
        }
        let fetched = self.fetch(host).await;
        let next = next(known.take(), fetched, now);
        let said = next.said.clone();
        *known = Some(next);
        said
    }

    fn slot(&self, host: &str) -> Slot {
        let mut hosts = self.hosts.lock();
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            // Those that nobody waits for; they are asked again when they are needed.
            hosts.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        hosts.entry(host.to_owned()).or_default().clone()
    }

    async fn fetch(&self, host: &str) -> Fetched {
        let Some(url) = self.url(host) else {
            return Fetched::Nothing("the host is no part of a URL".to_owned());
        };
        let is_plain = url.scheme() == "http";
        let request = Request {
            purpose: "well-known",
            method: Method::GET,
            url,
            route: None,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            plain_http: is_plain,
            redirects: MAX_REDIRECTS,
            timeout: TIME,
            answer_limit: MAX_BYTES,
        };
        match self.outgoing.send(request).await {
            Err(error) => Fetched::Failed(error.to_string()),
            Ok(answer) if answer.status == StatusCode::OK => match delegate(&answer.body) {
                Ok(server) => Fetched::Said(server, lifetime(&answer.headers)),
                Err(why) => Fetched::Nothing(why),
            },
            Ok(answer) if answer.status.is_server_error() => {
                Fetched::Failed(format!("the answer was {}", answer.status))
            }
            Ok(answer) => Fetched::Nothing(format!("the answer was {}", answer.status)),
        }
    }

    fn url(&self, host: &str) -> Option<Url> {
        #[cfg(test)]
        if let Some(base) = &self.base {
            return base
                .join(&format!("/{host}/.well-known/matrix/server"))
                .ok();
        }
        Url::parse(&format!("https://{host}/.well-known/matrix/server")).ok()
    }
}

/// What came of asking a host.
#[derive(Clone, Debug)]
enum Fetched {
    Said(OwnedServerName, Duration),
    /// It answered, and says nothing of use.
    Nothing(String),
    /// It did not answer.
    Failed(String),
}

/// What is known after asking. A host that does not answer keeps what it said, for as
/// long as answers may hold at most: a web server that is down for an hour must not
/// send its neighbours to a wrong place.
fn next(before: Option<Known>, fetched: Fetched, now: Timestamp) -> Known {
    let failures = before.as_ref().map_or(0, |known| known.failures);
    let wait = |failures: u32| {
        NOTHING
            .saturating_mul(1 << failures.min(10))
            .min(NOTHING_LONGEST)
    };
    let nothing = |why: String| Known {
        said: WellKnown::Nothing(why),
        until: now.plus(wait(failures)),
        failures: failures.saturating_add(1),
        said_at: now,
    };
    match (fetched, before) {
        (Fetched::Said(server, lifetime), _) => Known {
            said: WellKnown::Delegated(server),
            until: now.plus(lifetime),
            failures: 0,
            said_at: now,
        },
        (Fetched::Failed(_), Some(known))
            if matches!(known.said, WellKnown::Delegated(_))
                && now.since(known.said_at) < LONGEST =>
        {
            Known {
                until: now.plus(wait(failures)),
                failures: failures.saturating_add(1),
                ..known
            }
        }
        (Fetched::Failed(why) | Fetched::Nothing(why), _) => nothing(why),
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "m.server")]
    server: String,
}

pub(crate) fn delegate(body: &[u8]) -> Result<OwnedServerName, String> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not what it should be: {error}"))?;
    ServerName::parse(&document.server)
        .map_err(|_| format!("m.server is no server name: {:?}", document.server))
}

/// How long an answer holds (RFC 9111).
pub(crate) fn lifetime(headers: &HeaderMap) -> Duration {
    let mut lifetime = None;
    let directives = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for directive in directives {
        let directive = directive.trim().to_ascii_lowercase();
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return SHORTEST;
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            lifetime = seconds.trim_matches('"').parse().ok();
        }
    }
    lifetime.map_or(USUAL, |seconds| {
        Duration::from_secs(seconds).clamp(SHORTEST, LONGEST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> OwnedServerName {
        OwnedServerName::try_from(text).unwrap()
    }

    fn minutes(known: &Known, now: Timestamp) -> u64 {
        known.until.since(now).as_secs() / 60
    }

    #[test]
    fn documents_name_a_server() {
        for (body, expected) in [
            (r#"{"m.server":"b.test:443"}"#, Some("b.test:443")),
            (r#"{"m.server":"b.test","x":1}"#, Some("b.test")),
            (r#"{"m.server":"b.test/x"}"#, None),
            (r#"{"m.server":7}"#, None),
            (r#"{}"#, None),
            ("<html>", None),
        ] {
            let found = delegate(body.as_bytes()).ok();
            assert_eq!(found, expected.map(name), "{body}");
        }
    }

    #[test]
    fn answers_hold_as_long_as_they_say() {
        for (value, seconds) in [
            ("max-age=3600", 3_600),
            ("public, Max-Age=3600", 3_600),
            ("max-age=1", 300),
            ("max-age=99999999", 172_800),
            ("no-store", 300),
            ("private", 86_400),
            ("max-age=x", 86_400),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(lifetime(&headers).as_secs(), seconds, "{value}");
        }
        assert_eq!(lifetime(&HeaderMap::new()), USUAL);
    }

    #[test]
    fn nothing_holds_longer_each_time_up_to_an_hour() {
        let now = Timestamp(0);
        let mut known = None;
        for expected in [5, 10, 20, 40, 60, 60] {
            let next = next(known, Fetched::Failed("down".to_owned()), now);
            assert_eq!(minutes(&next, now), expected);
            known = Some(next);
        }
        let said = next(known, Fetched::Said(name("b.test"), USUAL), now);
        assert_eq!(said.said, WellKnown::Delegated(name("b.test")));
        let nothing = next(Some(said), Fetched::Nothing("404".to_owned()), now);
        assert_eq!(nothing.said, WellKnown::Nothing("404".to_owned()));
        assert_eq!(minutes(&nothing, now), 5);
    }

    #[test]
    fn what_was_said_outlives_a_short_failure() {
        let start = Timestamp(0);
        let said = next(None, Fetched::Said(name("b.test"), USUAL), start);
        let failed = || Fetched::Failed("down".to_owned());
        let later = start.plus(USUAL);
        let kept = next(Some(said), failed(), later);
        assert_eq!(kept.said, WellKnown::Delegated(name("b.test")));
        assert_eq!(minutes(&kept, later), 5);
        let much_later = start.plus(LONGEST);
        let gone = next(Some(kept), failed(), much_later);
        assert!(matches!(gone.said, WellKnown::Nothing(_)));
    }
}
