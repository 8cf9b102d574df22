//! A list as it is written, signed and read.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use graph::{SigningKey, canonical, canonical_text, verify_json};
use ruma_common::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

use super::PeerListError;
use crate::{
    json::MAX_DEPTH,
    keys::{PinnedKeyError, parse_key},
};

/// In whose name a list is signed: who that is, the key says.
const SIGNER: &str = "authority";
/// The way in which lists are written now.
const FORMAT: u64 = 1;
/// The longest list, in bytes.
pub const MAX_LIST_BYTES: usize = 512 * 1024;
/// The most servers of a list.
const MAX_SERVERS: usize = 10_000;
/// The most keys of a server.
const MAX_KEYS: usize = 16;
/// The longest name of a list, in characters.
const MAX_NAME: usize = 200;

/// Which servers belong together, with which keys, and where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    format: u64,
    /// What the list is called.
    pub name: String,
    /// Its number: each list has a greater one than those before it.
    pub serial: u64,
    /// When it was signed, in ms since the Unix epoch.
    pub issued_at: u64,
    /// When there should be a newer one, in ms since the Unix epoch.
    pub valid_until: u64,
    /// The servers by their names.
    pub servers: BTreeMap<OwnedServerName, ListedServer>,
}

/// A server of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedServer {
    /// All keys with which it signs or has signed: by id, in base64.
    pub keys: HashMap<String, String>,
    /// Where it is reached, past DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The authorities of which one must have signed its certificate, as PEM; those that are
    /// trusted otherwise, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

/// A server as whoever writes a list names it.
#[derive(Clone, Debug, Default)]
pub struct DraftServer {
    /// Its keys, `ed25519:<name> <key in base64>` each.
    pub keys: Vec<String>,
    /// As [`ListedServer::address`].
    pub address: Option<SocketAddr>,
    /// As [`ListedServer::certificate_authority`].
    pub certificate_authority: Option<String>,
}

/// The public key of an authority, whose lists are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityKey {
    id: String,
    key: String,
}

impl AuthorityKey {
    /// Reads `ed25519:<name> <key in base64>`.
    ///
    /// # Errors
    /// [`PinnedKeyError`] if it is anything else.
    pub fn parse(text: &str) -> Result<Self, PinnedKeyError> {
        let (id, key) = parse_key(text)?;
        Ok(Self { id, key })
    }

    /// The public half of a key.
    pub fn of(key: &SigningKey) -> Self {
        Self {
            id: key.key_id().to_owned(),
            key: key.public_base64(),
        }
    }

    /// As it is parsed.
    pub fn to_text(&self) -> String {
        format!("{} {}", self.id, self.key)
    }
}

impl PeerList {
    /// A list that is to be signed.
    ///
    /// # Errors
    /// [`PeerListError::Unusable`] if a name or a key is none, or it is too much.
    pub fn new(
        name: String,
        serial: u64,
        (issued_at, valid_until): (u64, u64),
        servers: BTreeMap<String, DraftServer>,
    ) -> Result<Self, PeerListError> {
        let mut listed = BTreeMap::new();
        for (server, draft) in servers {
            let name = ServerName::parse(server.as_str())
                .map_err(|_| unusable(format!("{server:?} is no server name")))?;
            let keys = draft.keys.iter().map(|key| parse_key(key));
            let keys = keys.collect::<Result<_, _>>();
            let keys = keys.map_err(|error| unusable(format!("{server}: {error}")))?;
            let server = ListedServer {
                keys,
                address: draft.address,
                certificate_authority: draft.certificate_authority,
            };
            listed.insert(name, server);
        }
        let list = Self {
            format: FORMAT,
            name,
            serial,
            issued_at,
            valid_until,
            servers: listed,
        };
        list.check()?;
        Ok(list)
    }

    /// The list as it is handed on, with a line feed at its end.
    ///
    /// # Errors
    /// [`PeerListError::Unusable`] if it is too long.
    pub fn sign(&self, key: &SigningKey) -> Result<String, PeerListError> {
        let wrong = |error: &dyn std::fmt::Display| unusable(error.to_string());
        let json = serde_json::to_vec(self).map_err(|error| wrong(&error))?;
        let mut object = canonical(&json, MAX_DEPTH).map_err(|error| wrong(&error))?;
        let signer = ServerName::parse(SIGNER).map_err(|error| wrong(&error))?;
        key.sign_json(&signer, &mut object)
            .map_err(|error| wrong(&error))?;
        let text = canonical_text(&object).map_err(|error| wrong(&error))? + "\n";
        if text.len() > MAX_LIST_BYTES {
            return Err(unusable(format!("it has more than {MAX_LIST_BYTES} bytes")));
        }
        Ok(text)
    }

    /// Reads a list that this authority has signed. Whether it is still valid is another
    /// question.
    ///
    /// # Errors
    /// [`PeerListError::Unusable`] if it is no list, [`PeerListError::Signature`] if it is not
    /// signed by the authority.
    pub fn read(text: &[u8], authority: &AuthorityKey) -> Result<Self, PeerListError> {
        if text.len() > MAX_LIST_BYTES {
            return Err(unusable(format!("it has more than {MAX_LIST_BYTES} bytes")));
        }
        let object = canonical(text, MAX_DEPTH)
            .map_err(|error| unusable(format!("it is no JSON: {error}")))?;
        verify_json(SIGNER, &authority.id, &authority.key, &object)
            .map_err(|error| PeerListError::Signature(error.to_string()))?;
        // What was verified is what is read.
        let signed = canonical_text(&object).map_err(|error| unusable(error.to_string()))?;
        let list: Self =
            serde_json::from_str(&signed).map_err(|error| unusable(error.to_string()))?;
        list.check()?;
        Ok(list)
    }

    fn check(&self) -> Result<(), PeerListError> {
        if self.format != FORMAT {
            return Err(unusable(format!(
                "it is written in format {}, which this version does not know",
                self.format
            )));
        }
        if self.name.is_empty() || self.name.chars().count() > MAX_NAME {
            return Err(unusable(format!("its name has 1 to {MAX_NAME} characters")));
        }
        if self.serial == 0 || self.valid_until <= self.issued_at {
            return Err(unusable("its number or its times cannot be".to_owned()));
        }
        if self.servers.len() > MAX_SERVERS {
            return Err(unusable(format!("it has more than {MAX_SERVERS} servers")));
        }
        for (name, server) in &self.servers {
            server
                .check()
                .map_err(|reason| unusable(format!("{name}: {reason}")))?;
        }
        Ok(())
    }
}

impl ListedServer {
    fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            return Err(format!("a server has 1 to {MAX_KEYS} keys"));
        }
        for (id, key) in &self.keys {
            parse_key(&format!("{id} {key}")).map_err(|error| error.to_string())?;
        }
        match &self.certificate_authority {
            Some(pem) if !outgoing::are_authorities(pem) => {
                Err("its certificate authority is no PEM file of certificates".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn unusable(reason: String) -> PeerListError {
    PeerListError::Unusable(reason)
}
