//! The verbs of `cairn federation`.

use ruma_common::ServerName;
use serde_json::{Value, json};

use crate::{Actions, AdministrationError};

impl Actions {
    pub(crate) async fn federation_status(&self) -> Result<Value, AdministrationError> {
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
        Ok(json!({
            "key_id": status.key_id,
            "known_servers": status.known,
            "failing": failing,
        }))
    }

    pub(crate) async fn federation_check(
        &self,
        server: &str,
    ) -> Result<Value, AdministrationError> {
        let name = ServerName::parse(server.trim())
            .map_err(|_| AdministrationError::ServerName(server.to_owned()))?;
        let steps = self.peers.check(&name).await;
        let ok = steps.iter().all(|step| step.ok);
        Ok(json!({ "server": name, "ok": ok, "steps": steps }))
    }
}
