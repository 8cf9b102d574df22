//! Where discovery and the key ring get what they need.

use std::time::Duration;

use graph::verify_json;
use http::{Method, StatusCode};
use outgoing::{OutgoingError, Service};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, ServerName};
use serde_json::value::RawValue;

use crate::{
    Ask, Peers,
    discovery::{Lookups, WellKnown},
    json::MAX_DEPTH,
    keys::Document,
};

/// How long a server may take to tell its keys.
const KEYS: Ask = Ask {
    purpose: "keys",
    timeout: Duration::from_secs(10),
    answer_limit: 64 * 1024,
    // Who sends us something is there, whatever happened before.
    even_if_failing: true,
};
/// The most documents in the answer of a key server that are looked at.
const MOST_DOCUMENTS: usize = 8;

impl Lookups for Peers {
    async fn well_known(&self, host: &str) -> WellKnown {
        self.0.well_knowns.of(host).await
    }

    async fn services(&self, name: &str) -> Result<Vec<Service>, OutgoingError> {
        self.0.outgoing.services(name).await
    }
}

impl crate::keys::Sources for Peers {
    async fn fetch(&self, server: &ServerName) -> Result<Document, String> {
        // Of those that this server does not speak to, nobody else is asked either.
        self.may_speak_to(server)
            .map_err(|error| error.to_string())?;
        let mut reason = match self.keys_of(server).await {
            Ok(document) => return Ok(document),
            Err(reason) => reason,
        };
        for key_server in &self.0.key_servers {
            if key_server == server || self.may_speak_to(key_server).is_err() {
                continue;
            }
            match self.keys_from(key_server, server).await {
                Ok(document) => return Ok(document),
                Err(told) => reason += &format!("; {key_server}: {told}"),
            }
        }
        Err(reason)
    }
}

impl Peers {
    /// What a server itself says of its keys.
    pub(crate) async fn keys_of(&self, server: &ServerName) -> Result<Document, String> {
        self.may_speak_to(server)
            .map_err(|error| error.to_string())?;
        let answer = self
            .ask_unsigned(server, "/_matrix/key/v2/server", KEYS)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("the answer was {}", answer.status));
        }
        let object = graph::canonical(&answer.body, MAX_DEPTH).map_err(|why| why.to_string())?;
        Document::check(server, object, self.clock().now())
    }

    /// What a key server says of another's keys. Its own keys must come from itself, and
    /// both must have signed.
    async fn keys_from(
        &self,
        key_server: &ServerName,
        server: &ServerName,
    ) -> Result<Document, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let wanted = format!(r#"{{"server_keys":{{"{server}":{{}}}}}}"#);
        let wanted = graph::canonical(wanted.as_bytes(), MAX_DEPTH).map_err(|why| told(&why))?;
        let path = "/_matrix/key/v2/query";
        let ask = KEYS.up_to(256 * 1024);
        let answer = self
            .ask_json(key_server, Method::POST, path, Some(&wanted), ask)
            .await
            .map_err(|error| told(&error))?;
        #[derive(serde::Deserialize)]
        struct Answer {
            server_keys: Vec<Box<RawValue>>,
        }
        let answer: Answer = serde_json::from_slice(&answer).map_err(|error| told(&error))?;
        let mut last = "it has none".to_owned();
        for document in answer.server_keys.iter().take(MOST_DOCUMENTS) {
            let object = graph::canonical(document.get().as_bytes(), MAX_DEPTH);
            let object = object.map_err(|why| told(&why))?;
            if let Err(why) = self.is_vouched_for(key_server, &object).await {
                last = why;
                continue;
            }
            match Document::check(server, object, self.clock().now()) {
                Ok(document) => return Ok(document),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Whether a key server has signed a document, with a key that it publishes itself.
    async fn is_vouched_for(
        &self,
        key_server: &ServerName,
        object: &CanonicalJsonObject,
    ) -> Result<(), String> {
        let signatures = object
            .get("signatures")
            .and_then(CanonicalJsonValue::as_object);
        let signatures = signatures.and_then(|all| all.get(key_server.as_str())?.as_object());
        let key_id = signatures.into_iter().flatten().map(|(id, _)| id).next();
        let key_id = key_id.ok_or("the key server has not signed it")?;
        let key = self.key_of_key_server(key_server, key_id).await?;
        verify_json(key_server.as_str(), key_id, &key, object).map_err(|why| why.to_string())
    }

    async fn key_of_key_server(
        &self,
        key_server: &ServerName,
        key_id: &str,
    ) -> Result<String, String> {
        if let Some(pinned) = self.ring().pinned_key(key_server, key_id) {
            return Ok(pinned);
        }
        let document = self.keys_of(key_server).await?;
        let record = document.keys.get(key_id);
        let record = record.filter(|record| record.valid_until >= self.clock().now().0);
        record
            .map(|record| record.key.clone())
            .ok_or_else(|| format!("{key_server} has no key {key_id}"))
    }
}
