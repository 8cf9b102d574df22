//! The options of this floor: `[limits]` and `[[listener]]`.

use std::{net::SocketAddr, path::PathBuf};

use runtime::Network;
use serde::{Deserialize, Serialize};

runtime::options! {
    /// Limits on what one client may ask for. Sizes, depths and waits are always
    /// limited; `enabled` is about rates.
    pub struct LimitsOptions in "limits" {
        /// Whether the rates below are enforced.
        pub enabled: bool = true,
        /// How many requests an account may send each second, over longer times.
        pub requests_per_second_per_account: u64 = 50,
        /// How many requests an account may send at once after a quiet time.
        pub burst_per_account: u64 = 300,
        /// How many requests without a valid access token an address may send each
        /// second, over longer times. An IPv6 address counts with its /64 network.
        pub requests_per_second_per_address: u64 = 20,
        /// How many requests without a valid access token an address may send at once
        /// after a quiet time.
        pub burst_per_address: u64 = 200,
        /// How many requests another server may send each second, over longer times.
        pub requests_per_second_per_server: u64 = 100,
        /// How many requests another server may send at once after a quiet time.
        pub burst_per_server: u64 = 1_000,
        /// How many sign-ins an address may fail each minute, over longer times.
        pub failed_sign_ins_per_minute_per_address: u64 = 10,
        /// How many sign-ins an address may fail at once after a quiet time.
        pub failed_sign_in_burst_per_address: u64 = 30,
        /// How often sign-in as one user may fail each minute, over longer times.
        pub failed_sign_ins_per_minute_per_user: u64 = 3,
        /// How often sign-in as one user may fail at once after a quiet time.
        pub failed_sign_in_burst_per_user: u64 = 10,
        /// How many letters the server may be asked to send to one e-mail address each hour,
        /// over longer times.
        pub mails_per_hour_per_recipient: u64 = 6,
        /// How many it may be asked to send there at once after a quiet time.
        pub mail_burst_per_recipient: u64 = 3,
        /// How many letters an address of the network may ask for each hour, over longer times.
        pub mails_per_hour_per_address: u64 = 30,
        /// How many it may ask for at once after a quiet time.
        pub mail_burst_per_address: u64 = 10,
        /// How many previews of web pages an account may ask for each minute, over longer times.
        pub previews_per_minute_per_account: u64 = 60,
        /// How many it may ask for at once after a quiet time.
        pub preview_burst_per_account: u64 = 60,
        /// How many syncs of one device may wait for news at the same time. One more
        /// ends the oldest, which is answered at once: mostly one whose client is gone.
        pub waiting_syncs_per_device: u64 = 4,
        /// The longest JSON body of a request, in bytes.
        pub max_body_bytes: u64 = 1_048_576,
        /// The longest file that can be uploaded, in bytes.
        pub max_upload_bytes: u64 = 104_857_600,
        /// How deeply arrays and objects of a request may be nested. At most 120.
        pub max_json_depth: u64 = 100,
        /// How many connections one listener holds. Further ones wait until one ends. All
        /// listeners together hold no more than the limit of open files leaves them.
        pub max_connections: u64 = 8_192,
        /// How many connections one address, or one network of IPv6 (/64), may hold on one
        /// listener. Trusted proxies and the machine itself are exempt.
        pub max_connections_per_address: u64 = 1_024,
    }
}

/// The deepest nesting that `max_json_depth` can allow: the JSON parser itself
/// stops at 128.
const DEEPEST_JSON: u64 = 120;

impl LimitsOptions {
    /// The deepest nesting of a request's JSON.
    pub(crate) fn json_depth(&self) -> usize {
        usize::try_from(self.max_json_depth.min(DEEPEST_JSON)).unwrap_or(usize::MAX)
    }
}

/// One `[[listener]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerOptions {
    /// The address and port to listen on, `0.0.0.0:8448` for instance.
    pub address: SocketAddr,
    /// What it serves; at least one thing.
    pub serves: Vec<Serves>,
    /// Certificate and key. Left out: plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
    /// Networks of reverse proxies, whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
}

/// A thing that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// `/_matrix/client`, `/_matrix/media`, `/.well-known/matrix/client`, and the
    /// pages of invitations and letters, `/join` and `/confirm`.
    Client,
    /// `/_matrix/federation`, `/_matrix/key`, `/.well-known/matrix/server`.
    Federation,
    /// `/_synapse/admin`, and the console at `/console/`.
    Admin,
    /// `/metrics`, for Prometheus, and `/_cairn/health`.
    Metrics,
}

/// Where a listener's certificate and key are: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root, in this order.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
