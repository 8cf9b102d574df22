//! The verbs of `cairn federation`.

use std::collections::BTreeMap;

use audit::Verb;
use delivery::WaitingServer;
use peers::{ListInForce, PeerList};
use ruma_common::{OwnedServerName, ServerName};
use runtime::Timestamp;
use serde_json::{Value, json};
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Right};

/// The most servers for which something waits that are shown.
const MAX_WAITING: usize = 1_000;

fn server_name(typed: &str) -> Result<OwnedServerName, AdministrationError> {
    ServerName::parse(typed.trim()).map_err(|_| AdministrationError::ServerName(typed.to_owned()))
}

impl Actions {
    pub(crate) async fn federation_status(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ShowFederation)?;
        let status = self.peers.status().await?;
        let failing: Vec<Value> = status
            .failing
            .iter()
            .map(|(server, failing)| {
                json!({
                    "server": server,
                    "failures": failing.failures,
                    "since": failing.since.to_string(),
                    "retry_at": failing.retry_at.to_string(),
                    "reason": failing.reason,
                })
            })
            .collect();
        let waiting: Vec<Value> = self
            .waiting()
            .await?
            .into_iter()
            .map(|(server, waiting)| {
                json!({
                    "server": server,
                    "rooms": waiting.rooms,
                    "events": waiting.events,
                    "others": waiting.others,
                    "has_transaction": waiting.has_transaction,
                })
            })
            .collect();
        Ok(json!({
            "key_id": status.key_id,
            "known_servers": status.known,
            "list": self.peers.list().map(|known| self.list_json(&known)),
            "failing": failing,
            "waiting": waiting,
            "blocked": self.blocked_json(),
        }))
    }

    pub(crate) async fn federation_check(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CheckFederation)?;
        let name = server_name(server)?;
        let steps = self.peers.check(&name).await;
        let ok = steps.iter().all(|step| step.ok);
        Ok(json!({ "server": name, "ok": ok, "steps": steps }))
    }

    /// What waits for other servers.
    async fn waiting(&self) -> Result<BTreeMap<String, WaitingServer>, AdministrationError> {
        let waiting = |view: &Snapshot| delivery::waiting_servers(view, MAX_WAITING);
        Ok(self.rooms.store().read_long(waiting).await?)
    }

    pub(crate) async fn federation_retry(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ChangeFederation)?;
        let name = server_name(server)?;
        let deed = by.act().did(Verb::PeerRetried).on(name.as_str());
        self.peers.try_again(&name, deed).await?;
        log::info!(server = name.as_str(); "a server is tried now, as an administrator wants");
        Ok(json!({ "server": name }))
    }

    pub(crate) async fn federation_block(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ChangeFederation)?;
        let name = server_name(&server.to_ascii_lowercase())?;
        if name
            .as_str()
            .eq_ignore_ascii_case(self.peers.server_name().as_str())
        {
            return Err(AdministrationError::OwnServer);
        }
        let deed = by.act().did(Verb::PeerBlocked).on(name.as_str());
        let reason = by.act().reason.clone();
        self.peers.block(&name, reason, deed).await?;
        log::info!(server = name.as_str(); "a server is spoken to no more, as an administrator wants");
        Ok(json!({ "server": name }))
    }

    pub(crate) async fn federation_unblock(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ChangeFederation)?;
        let name = server_name(&server.to_ascii_lowercase())?;
        let deed = by.act().did(Verb::PeerUnblocked).on(name.as_str());
        match self.peers.unblock(&name, deed).await? {
            true => {
                log::info!(server = name.as_str(); "a server is spoken to again, as an administrator wants");
                Ok(json!({ "server": name }))
            }
            false => Err(AdministrationError::NotFound(format!(
                "{name} is not blocked"
            ))),
        }
    }

    pub(crate) async fn federation_forget(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ChangeFederation)?;
        let name = server_name(server)?;
        let before = self.waiting().await?.remove(name.as_str());
        let (store, now) = (self.rooms.store(), self.clock.now().0);
        delivery::forget_server(store, &name, by.act(), now).await?;
        log::info!(server = name.as_str(); "what waited for a server was forgotten, as an administrator wants");
        let before = before.unwrap_or_default();
        Ok(json!({ "server": name, "events": before.events, "others": before.others }))
    }

    pub(crate) async fn import_peer_list(
        &self,
        by: &Administrator,
        list: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ImportPeerList)?;
        let imported = self.peers.import_list(by.act(), list.as_bytes());
        let (known, was_in_force) = imported.await?;
        Ok(json!({ "list": self.list_json(&known), "was_in_force": was_in_force }))
    }

    pub(crate) async fn export_peer_list(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ShowFederation)?;
        let signed = self.peers.signed_list().await?;
        let signed = signed.map(|signed| String::from_utf8_lossy(&signed).into_owned());
        let list = self.peers.list().map(|known| self.list_json(&known));
        Ok(json!({ "list": list, "signed": signed }))
    }

    fn blocked_json(&self) -> Vec<Value> {
        let blocked = self.peers.blocked().into_iter();
        blocked
            .map(|(server, record)| {
                json!({
                    "server": server,
                    "since": Timestamp(record.blocked_at).to_string(),
                    "reason": record.reason,
                })
            })
            .collect()
    }

    fn list_json(&self, known: &ListInForce) -> Value {
        let mut json = peer_list_json(&known.list, Some(known.imported_at));
        json["has_ended"] = (known.list.valid_until <= self.clock.now().0).into();
        json
    }
}

/// A list of servers for a person, and when it came.
pub fn peer_list_json(list: &PeerList, imported_at: Option<Timestamp>) -> Value {
    let servers = list.servers.iter().map(|(name, server)| {
        let keys = server.keys.iter();
        let mut keys: Vec<String> = keys.map(|(id, key)| format!("{id} {key}")).collect();
        keys.sort();
        let described = json!({
            "keys": keys,
            "address": server.address,
            "has_certificate_authority": server.certificate_authority.is_some(),
        });
        (name.to_string(), described)
    });
    json!({
        "name": list.name,
        "serial": list.serial,
        "issued_at": Timestamp(list.issued_at).to_string(),
        "valid_until": Timestamp(list.valid_until).to_string(),
        "imported_at": imported_at.map(|at| at.to_string()),
        "servers": servers.collect::<serde_json::Map<_, _>>(),
    })
}
