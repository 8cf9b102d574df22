//! Keys that the configuration and the list in force name.

use std::collections::HashMap;

use ruma_common::{OwnedServerName, ServerName, serde::Base64};

use crate::{FederationOptions, listed::Listed};

/// A mistake in `federation.pinned_keys`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PinnedKeyError {
    /// The name of the server.
    #[error("`{0}` is no server name")]
    Server(String),
    /// The key.
    #[error("`{0}` is no key: write \"ed25519:<name> <key in base64>\"")]
    Key(String),
}

/// The keys that the configuration and the list in force name.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    /// By server and id.
    configured: HashMap<OwnedServerName, HashMap<String, String>>,
    listed: Listed,
}

impl Pinned {
    pub(crate) fn new(options: &FederationOptions, listed: Listed) -> Result<Self, PinnedKeyError> {
        let mut configured = HashMap::new();
        for (server, keys) in &options.pinned_keys {
            let name = OwnedServerName::try_from(server.as_str())
                .map_err(|_| PinnedKeyError::Server(server.clone()))?;
            let keys: Result<HashMap<_, _>, _> = keys.iter().map(|key| parse_key(key)).collect();
            configured.insert(name, keys?);
        }
        Ok(Self { configured, listed })
    }

    /// Whether a server's keys are pinned, by the configuration or by the list.
    pub(crate) fn names(&self, server: &ServerName) -> bool {
        self.configured.contains_key(server) || self.listed.has(server)
    }

    /// The key of a server with this id: of the configuration, where that names any of the
    /// server, else of the list.
    pub(crate) fn key(&self, server: &ServerName, key_id: &str) -> Option<String> {
        match self.configured.get(server) {
            Some(keys) => keys.get(key_id).cloned(),
            None => self.listed.server(server)?.keys.remove(key_id),
        }
    }
}

impl FederationOptions {
    /// The mistakes in `pinned_keys`, with the name under which each stands.
    pub fn pinned_key_problems(&self) -> Vec<(&str, PinnedKeyError)> {
        let problem = |(server, keys): (&String, &Vec<String>)| {
            let name = OwnedServerName::try_from(server.as_str());
            let name = name.map_err(|_| PinnedKeyError::Server(server.clone()));
            let keys = keys.iter().map(|key| parse_key(key).map(drop));
            name.map(drop).and(keys.collect::<Result<(), _>>()).err()
        };
        let all = self.pinned_keys.iter();
        all.filter_map(|entry| Some((entry.0.as_str(), problem(entry)?)))
            .collect()
    }
}

/// Reads `ed25519:<name> <key in base64>`.
pub(crate) fn parse_key(text: &str) -> Result<(String, String), PinnedKeyError> {
    let wrong = || PinnedKeyError::Key(text.to_owned());
    let (id, key) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let bytes =
        Base64::<ruma_common::serde::base64::Standard>::parse(key.trim()).map_err(|_| wrong())?;
    if !id.starts_with("ed25519:") || bytes.as_bytes().len() != 32 {
        return Err(wrong());
    }
    Ok((id.to_owned(), key.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        let key = "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw";
        for (text, is_right) in [
            (format!("ed25519:a_1 {key}"), true),
            (format!(" ed25519:a_1  {key}= "), true),
            (format!("curve25519:a {key}"), false),
            (format!("ed25519:a_1{key}"), false),
            ("ed25519:a_1 AAAA".to_owned(), false),
            ("ed25519:a_1 !".to_owned(), false),
        ] {
            assert_eq!(parse_key(&text).is_ok(), is_right, "{text}");
        }
    }
}
