//! Keys that the configuration names.

use std::collections::HashMap;

use ruma_common::{OwnedServerName, serde::Base64};

use crate::FederationOptions;

/// A mistake in `federation.pinned_keys`.
#[derive(Debug, thiserror::Error)]
pub enum PinnedKeyError {
    /// The name of the server.
    #[error("`{0}` is no server name")]
    Server(String),
    /// The key.
    #[error("`{0}` is no key: write \"ed25519:<name> <key in base64>\"")]
    Key(String),
}

/// The keys that the configuration names, by server and id.
#[derive(Debug, Default)]
pub(crate) struct Pinned(HashMap<OwnedServerName, HashMap<String, String>>);

impl Pinned {
    pub(crate) fn new(options: &FederationOptions) -> Result<Self, PinnedKeyError> {
        let mut pinned = HashMap::new();
        for (server, keys) in &options.pinned_keys {
            let name = OwnedServerName::try_from(server.as_str())
                .map_err(|_| PinnedKeyError::Server(server.clone()))?;
            let keys: Result<HashMap<_, _>, _> = keys.iter().map(|key| parse(key)).collect();
            pinned.insert(name, keys?);
        }
        Ok(Self(pinned))
    }

    /// The keys of a server, if the configuration names any.
    pub(crate) fn of(&self, server: &ruma_common::ServerName) -> Option<&HashMap<String, String>> {
        self.0.get(server)
    }
}

impl FederationOptions {
    /// The mistakes in `pinned_keys`, with the name under which each stands.
    pub fn pinned_key_problems(&self) -> Vec<(&str, PinnedKeyError)> {
        let problem = |(server, keys): (&String, &Vec<String>)| {
            let name = OwnedServerName::try_from(server.as_str());
            let name = name.map_err(|_| PinnedKeyError::Server(server.clone()));
            let keys = keys.iter().map(|key| parse(key).map(drop));
            name.map(drop).and(keys.collect::<Result<(), _>>()).err()
        };
        let all = self.pinned_keys.iter();
        all.filter_map(|entry| Some((entry.0.as_str(), problem(entry)?)))
            .collect()
    }
}

fn parse(text: &str) -> Result<(String, String), PinnedKeyError> {
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
            assert_eq!(parse(&text).is_ok(), is_right, "{text}");
        }
    }
}
