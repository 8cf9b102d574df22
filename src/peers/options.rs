//! The section `[federation]` of the configuration.

use std::{collections::BTreeMap, net::SocketAddr};

use url::Url;

use crate::{AuthorityKey, PeersError, PinnedKeyError};

runtime::options! {
    /// Conversations with other servers.
    pub struct FederationOptions in "federation" {
        /// Whether this server speaks to others at all.
        pub enabled: bool = true,
        /// The servers it speaks to, with * and ? for any characters. Empty: all but the denied.
        pub allowed_servers: Vec<String> = Vec::new(),
        /// The servers it never speaks to, with * and ? for any characters.
        pub denied_servers: Vec<String> = Vec::new(),
        /// Whether other servers are told how people have called their devices ("Phone", or
        /// what a client chose). Whoever shares a room with them can then read it.
        pub device_names: bool = false,
        /// Whether rooms of other servers are joined without waiting for their members, who are
        /// fetched meanwhile. Large rooms can be used at once then.
        pub fast_joins: bool = true,
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
        /// The public key of the authority whose signed lists of servers are taken,
        /// "ed25519:<name> <key in base64>" (`cairn federation peers`). The servers of the list
        /// are spoken to, at the places and with the keys that it names.
        pub peer_list_key: String = String::new(),
        /// Where newer lists are fetched from, every hour. Empty: they are imported by hand.
        pub peer_list_url: String = String::new(),
        /// Whether this server speaks to no others than those of the list and those of
        /// allowed_servers. Before a list was imported that is nobody.
        pub only_peer_list: bool = false,
    }
}

impl FederationOptions {
    /// The authority of `peer_list_key`, if there is one.
    ///
    /// # Errors
    /// [`PinnedKeyError`] if that is no key.
    pub fn authority(&self) -> Result<Option<AuthorityKey>, PinnedKeyError> {
        let key = self.peer_list_key.as_str();
        let key = (!key.is_empty()).then(|| AuthorityKey::parse(key));
        key.transpose()
    }

    /// The address of `peer_list_url`, if there is one.
    ///
    /// # Errors
    /// [`PeersError::Url`] if that is none of the web.
    pub fn list_url(&self) -> Result<Option<Url>, PeersError> {
        if self.peer_list_url.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.peer_list_url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let wrong = || PeersError::Url(self.peer_list_url.clone());
        url.map(Some).ok_or_else(wrong)
    }
}
