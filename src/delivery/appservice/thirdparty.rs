//! Third-party networks: what services say of them, put together (application service
//! API, "Third-party networks").

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use rooms::Rooms;
use serde_json::{Map, Value};
use services::Service;

use super::{Appservices, asking::Question};

/// How long a service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most fields of a search, and…
const MAX_FIELDS: usize = 50;
/// …the most bytes of all of them.
const MAX_FIELD_BYTES: usize = 8 * 1024;
/// The most results of all services together.
const MAX_RESULTS: usize = 10_000;

/// The fields of a search.
type FieldsOf = BTreeMap<String, String>;

impl Appservices {
    /// All networks that services lead to, by protocol.
    pub async fn protocols(&self) -> Map<String, Value> {
        let mut names: Vec<String> = Vec::new();
        for service in self.services().all().iter() {
            names.extend(service.registration.protocols.iter().cloned());
        }
        names.sort();
        names.dedup();
        let mut protocols = Map::new();
        for name in names {
            if let Some(protocol) = self.protocol(&name).await {
                protocols.insert(name, protocol);
            }
        }
        protocols
    }

    /// What the services say of a protocol: its first description, with the instances of
    /// all of them. `None` if no service leads there.
    pub async fn protocol(&self, name: &str) -> Option<Value> {
        let mut whole: Option<Map<String, Value>> = None;
        let mut instances = Vec::new();
        for service in self.leading_to(Some(name)) {
            let path = ["thirdparty", "protocol", name];
            let Some(Value::Object(mut said)) = self.look_up(&service, &path, &[]).await else {
                continue;
            };
            if let Some(Value::Array(own)) = said.remove("instances") {
                let own = own.into_iter().take(MAX_RESULTS);
                instances.extend(own.filter_map(|instance| named(&service, instance)));
            }
            whole.get_or_insert(said);
        }
        let mut whole = whole?;
        whole.insert("instances".to_owned(), instances.into());
        Some(whole.into())
    }

    /// The places of a protocol's networks that fit a search.
    pub async fn locations(&self, protocol: &str, fields: &FieldsOf) -> Vec<Value> {
        let path = ["thirdparty", "location", protocol];
        self.search(Some(protocol), &path, fields).await
    }

    /// The users of a protocol's networks that fit a search.
    pub async fn users(&self, protocol: &str, fields: &FieldsOf) -> Vec<Value> {
        let path = ["thirdparty", "user", protocol];
        self.search(Some(protocol), &path, fields).await
    }

    /// The places that an alias leads to.
    pub async fn locations_of(&self, alias: &str) -> Vec<Value> {
        let fields = FieldsOf::from([("alias".to_owned(), alias.to_owned())]);
        self.search(None, &["thirdparty", "location"], &fields)
            .await
    }

    /// The users of networks whom a user id stands for.
    pub async fn users_of(&self, user_id: &str) -> Vec<Value> {
        let fields = FieldsOf::from([("userid".to_owned(), user_id.to_owned())]);
        self.search(None, &["thirdparty", "user"], &fields).await
    }

    /// The services that lead to a protocol, or to any.
    fn leading_to(&self, protocol: Option<&str>) -> Vec<Arc<Service>> {
        let leads = |service: &&Arc<Service>| {
            let protocols = &service.registration.protocols;
            service.registration.url.is_some()
                && match protocol {
                    Some(name) => protocols.iter().any(|known| known == name),
                    None => !protocols.is_empty(),
                }
        };
        self.services()
            .all()
            .iter()
            .filter(leads)
            .cloned()
            .collect()
    }

    /// The results of all services, one after the other.
    async fn search(&self, protocol: Option<&str>, path: &[&str], fields: &FieldsOf) -> Vec<Value> {
        let bytes: usize = fields
            .iter()
            .map(|(name, text)| name.len() + text.len())
            .sum();
        if fields.len() > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
            return Vec::new();
        }
        let query: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let mut results = Vec::new();
        for service in self.leading_to(protocol) {
            if let Some(Value::Array(found)) = self.look_up(&service, path, &query).await {
                let room = MAX_RESULTS - results.len();
                results.extend(found.into_iter().filter(Value::is_object).take(room));
            }
        }
        results
    }

    /// What a service answers, if it answers.
    async fn look_up(
        &self,
        service: &Service,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Option<Value> {
        let _place = self.inner.questions.acquire().await;
        let question = Question {
            purpose: "appservice-lookup",
            method: Method::GET,
            path,
            old_prefix: &["_matrix", "app", "unstable"],
            query,
            body: Bytes::new(),
            timeout: TIMEOUT,
        };
        match self.ask(service, question).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                serde_json::from_slice(&answer.body).ok()
            }
            Ok(_) => None,
            Err(error) => {
                log::debug!(
                    "the application service {} is silent: {error}",
                    service.id()
                );
                None
            }
        }
    }
}

/// An instance with the id by which this server knows it.
fn named(service: &Service, instance: Value) -> Option<Value> {
    let Value::Object(mut instance) = instance else {
        return None;
    };
    let network = instance.get("network_id")?.as_str()?;
    let id = Rooms::network_instance(service.id(), network);
    instance.insert("instance_id".to_owned(), id.into());
    Some(instance.into())
}
