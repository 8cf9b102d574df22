//! The section `[federation]` of the configuration.

use std::{collections::BTreeMap, net::SocketAddr};

runtime::options! {
    /// Conversations with other servers.
    pub struct FederationOptions in "federation" {
        /// Whether this server speaks to others at all.
        pub enabled: bool = true,
        /// The servers it speaks to, with * and ? for any characters. Empty: all but the denied.
        pub allowed_servers: Vec<String> = Vec::new(),
        /// The servers it never speaks to, with * and ? for any characters.
        pub denied_servers: Vec<String> = Vec::new(),
        /// Where to reach a server, past DNS: "b.test" = "127.0.0.1:8449".
        pub overrides: BTreeMap<String, SocketAddr> = BTreeMap::new(),
        /// The longest wait before a server that does not answer is tried again, in seconds.
        /// The first wait is one second, and each is twice as long as the one before. A
        /// server that is heard from is tried at once.
        pub retry_delay_max: u64 = 3_600,
        /// Servers that are asked for the signing keys of those that do not answer
        /// themselves. They could lie about them: name only servers that you trust.
        pub key_servers: Vec<String> = Vec::new(),
        /// The signing keys of servers, so that they are never fetched and no others are
        /// taken: "b.test" = ["ed25519:a_1 <key in base64>"]. `cairn federation check` of the
        /// other server's name shows its keys.
        pub pinned_keys: BTreeMap<String, Vec<String>> = BTreeMap::new(),
    }
}
