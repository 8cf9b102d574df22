//! How another server is reached, step by step, in words.

use std::time::Duration;

use http::{HeaderMap, Method, header};
use model::tables::PEER_DOCUMENT_BY_NAME;
use ruma_common::{OwnedServerName, ServerName};
use runtime::Timestamp;
use serde::Serialize;
use serde_json::Value;
use store::{Read as _, Snapshot, StoreError};

use crate::{Ask, Failing, PeerError, Peers};

const CHECK: Ask = Ask {
    purpose: "check",
    timeout: Duration::from_secs(20),
    answer_limit: 64 * 1024,
    even_if_failing: true,
};
/// How far two clocks may be apart before somebody should look at them.
const CLOCKS: Duration = Duration::from_secs(30);

/// One step of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckStep {
    /// What was looked at: "rules", "place", "connection", "keys", "clock", "signature".
    pub step: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found: one sentence or several.
    pub found: String,
}

/// How this server stands with others.
#[derive(Clone, Debug)]
pub struct Status {
    /// The key that this server signs with.
    pub key_id: String,
    /// How many servers' keys are known.
    pub known: usize,
    /// The servers that do not answer.
    pub failing: Vec<(OwnedServerName, Failing)>,
}

impl Peers {
    /// How this server stands with others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn status(&self) -> Result<Status, StoreError> {
        let count = |view: &Snapshot| {
            view.scan(&PEER_DOCUMENT_BY_NAME, &())
                .try_fold(0, |count, row| row.map(|_| count + 1))
        };
        Ok(Status {
            key_id: self.signing_key().key_id().to_owned(),
            known: self.store().read_long(count).await?,
            failing: self.0.back_off.all(),
        })
    }

    /// Looks at everything that must be right for a conversation with a server, in the
    /// order in which it is needed, and ends where it cannot go on.
    pub async fn check(&self, server: &ServerName) -> Vec<CheckStep> {
        let mut steps = Vec::new();
        let mut add = |step, found: Result<String, String>| {
            let ok = found.is_ok();
            let (Ok(found) | Err(found)) = found;
            steps.push(CheckStep { step, ok, found });
            ok
        };
        let rules = self.may_speak_to(server);
        let allowed = match self.0.listed.has(server) {
            true => "the list of servers has this server",
            false => "the configuration allows this server",
        };
        let rules = rules.map(|()| allowed.to_owned());
        if !add("rules", rules.map_err(|error| error.to_string())) {
            return steps;
        }
        let place = self.destination(server).await;
        let place = place.map(|place| place.steps.join("; "));
        if !add("place", place.map_err(|error| error.to_string())) {
            return steps;
        }
        let (connection, clock) = self.check_connection(server).await;
        if !add("connection", connection) {
            return steps;
        }
        if let Some(clock) = clock {
            add("clock", clock);
        }
        let keys = self.check_keys(server).await;
        add("keys", keys);
        add("signature", self.check_signature(server).await);
        steps
    }

    /// Connection, certificate and an answer; and what the answer says of the time.
    async fn check_connection(
        &self,
        server: &ServerName,
    ) -> (Result<String, String>, Option<Result<String, String>>) {
        let path = "/_matrix/federation/v1/version";
        let answer = match self.ask_unsigned(server, path, CHECK).await {
            Ok(answer) => answer,
            Err(error) => return (Err(error.to_string()), None),
        };
        let address = answer.address.map(|address| format!(" from {address}"));
        let said = format!(
            "{:?} over TLS{} with a certificate that is right",
            answer.version,
            address.unwrap_or_default()
        );
        let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        let software = body["server"]["name"].as_str().map(|name| {
            let version = body["server"]["version"].as_str().unwrap_or("?");
            format!("{name} {version}")
                .chars()
                .take(100)
                .collect::<String>()
        });
        let clock = self.check_clock(&answer.headers);
        let connection = match software {
            Some(software) => Ok(format!("{said}: {software}")),
            None if answer.status.is_success() => {
                Ok(format!("{said}, which does not say what it runs"))
            }
            None => Err(format!("{said}, but it answers {}", answer.status)),
        };
        (connection, Some(clock))
    }

    fn check_clock(&self, headers: &HeaderMap) -> Result<String, String> {
        let date = headers
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(http_date) else {
            return Ok("it does not tell its time".to_owned());
        };
        let ours = self.clock().now();
        let apart = ours.since(theirs).max(theirs.since(ours));
        let side = if ours > theirs { "behind" } else { "ahead of" };
        if apart <= CLOCKS {
            Ok(format!(
                "its clock agrees with ours within {} seconds",
                CLOCKS.as_secs()
            ))
        } else {
            Err(format!(
                "its clock is {} seconds {side} ours: one of the two is wrong",
                apart.as_secs()
            ))
        }
    }

    async fn check_keys(&self, server: &ServerName) -> Result<String, String> {
        let document = self.keys_of(server).await?;
        let until = Timestamp(document.record.valid_until);
        let current: Vec<String> = document
            .keys
            .iter()
            .filter(|(_, record)| record.valid_until >= self.clock().now().0)
            .map(|(id, record)| format!("{id} {}", record.key))
            .collect();
        if current.is_empty() {
            return Err(format!("its keys were valid up to {until} only"));
        }
        let mut found = format!("{}, valid up to {until}", current.join(", "));
        if self.ring().is_pinned(server) {
            let is_pinned = |(id, record): (&String, &model::PeerKeyRecord)| {
                self.ring().pinned_key(server, id).as_deref() == Some(&record.key)
            };
            if !document.keys.iter().any(is_pinned) {
                return Err(format!("{found}; other keys are pinned"));
            }
            found += "; one of them is pinned";
        }
        Ok(found)
    }

    /// Asks for a profile that does not exist: the answer tells whether the other server
    /// could verify who asks.
    async fn check_signature(&self, server: &ServerName) -> Result<String, String> {
        let path =
            format!("/_matrix/federation/v1/query/profile?user_id=%40_cairn_check%3A{server}");
        match self.ask_json(server, Method::GET, &path, None, CHECK).await {
            Ok(_) => Ok("it knows us by our signature".to_owned()),
            Err(PeerError::Status { status, .. }) if matches!(status.as_u16(), 403 | 404) => {
                Ok("it knows us by our signature".to_owned())
            }
            Err(error) => Err(format!(
                "{error}; if it cannot reach this server, it cannot verify our requests"
            )),
        }
    }
}

/// The time in an HTTP header, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_ascii_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // Days of a year that begins in March, so that a leap day is its last.
    let month = u64::try_from(month).ok()? + 1;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // That many days lie before 1970-01-01.
    let days = days.checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("1994-11-06T08:49:37Z", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("", None),
        ] {
            let expected = expected.map(|seconds: u64| Timestamp(seconds * 1_000));
            assert_eq!(http_date(text), expected, "{text}");
        }
    }
}
