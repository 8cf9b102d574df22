//! The verbs of `cairn audit`.

use audit::{Deed, Filter, Found, Verb, Verified, hexadecimal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// The most entries of one answer.
const MOST_ENTRIES: usize = 10_000;
/// Lines of one part of a copy.
const LINES: usize = 5_000;

/// Which entries of the audit trail an administrator wants, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSelection {
    /// By whom: a user, `operator`, `server` or `nobody`.
    pub by: Option<String>,
    /// On whom or what: a user, a file, a server.
    pub on: Option<String>,
    /// In which room.
    pub room: Option<String>,
    /// A verb, or what stands before its dot.
    pub verb: Option<String>,
    /// From this moment on, in ms since the Unix epoch.
    pub since: Option<u64>,
    /// Before this moment, in ms since the Unix epoch.
    pub until: Option<u64>,
    /// Below this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Actions {
    /// Tells the audit trail of something that has no commit of its own.
    pub(crate) async fn tell(&self, deed: Deed) -> Result<(), StoreError> {
        let now = self.clock.now().0;
        self.rooms
            .store()
            .commit(move |latest, _, batch| audit::record(latest, batch, now, &[deed]))
            .await
    }

    /// Entries of the audit trail, the newest first.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn audit_entries(
        &self,
        by: &Administrator,
        wanted: AuditSelection,
    ) -> Result<Found, AdministrationError> {
        by.must(Right::ReadAudit)?;
        let filter = Filter {
            by: wanted.by.map(|name| self.whole_name(name)),
            on: wanted.on.map(|name| self.whole_name(name)),
            room: wanted.room,
            verb: wanted.verb,
            since: wanted.since,
            until: wanted.until,
        };
        let (before, limit) = (wanted.before, wanted.limit.min(MOST_ENTRIES));
        let read = move |view: &Snapshot| audit::find(view, &filter, before, limit);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// A user's whole id where only its beginning was typed.
    fn whole_name(&self, typed: String) -> String {
        let is_other = ["operator", "server", "nobody"].contains(&typed.as_str());
        if is_other || typed.contains([':', '/', '!', '#', '$']) {
            return typed;
        }
        let user_id = self.accounts.typed_user_id(&typed);
        user_id.map_or(typed, |user_id| user_id.to_string())
    }

    pub(crate) async fn show_audit(
        &self,
        by: &Administrator,
        wanted: AuditSelection,
    ) -> Result<Value, AdministrationError> {
        let found = self.audit_entries(by, wanted).await?;
        Ok(json!({ "entries": found.entries, "next": found.next }))
    }

    pub(crate) async fn verify_audit(
        &self,
        by: &Administrator,
        noted: Option<(u64, String)>,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ReadAudit)?;
        let noted = match noted {
            None => None,
            Some((number, text)) => match audit::parse_hash(&text) {
                Some(hash) => Some((number, hash)),
                None => return Err(AdministrationError::Hash(text)),
            },
        };
        let read = move |view: &Snapshot| audit::verify(view, noted);
        let verified: Verified = self.rooms.store().read_long(read).await?;
        let broken = verified
            .broken
            .map(|broken| json!({ "number": broken.number, "reason": broken.reason }));
        Ok(json!({
            "ok": broken.is_none(),
            "entries": verified.head.entries,
            "hash": hexadecimal(&verified.head.hash),
            "broken": broken,
        }))
    }

    pub(crate) async fn export_audit(
        &self,
        by: &Administrator,
        after: u64,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ReadAudit)?;
        if after == 0 {
            self.tell(by.act().did(Verb::AuditExported)).await?;
        }
        let read = move |view: &Snapshot| audit::lines_after(view, after, LINES);
        let lines: Vec<(u64, Vec<u8>)> = self.rooms.store().read_long(read).await?;
        let last = lines.last().map(|(number, _)| *number);
        let lines = lines.into_iter();
        let lines: Vec<String> = lines
            .map(|(_, line)| String::from_utf8_lossy(&line).into_owned())
            .collect();
        Ok(json!({ "lines": lines, "last": last }))
    }

    /// The server's word for one moment's whole trail: its end, signed.
    pub(crate) async fn sign_audit(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ReadAudit)?;
        let read = |view: &Snapshot| audit::head(view);
        let head: model::AuditHeadRecord = self.rooms.store().read(read).await?;
        let (server, now) = (self.accounts.server_name(), self.clock.now().0);
        let statement = audit::statement(&head, server, now, self.peers.signing_key());
        let statement =
            statement.map_err(|error| AdministrationError::Unsigned(error.to_string()))?;
        Ok(json!({ "statement": statement, "entries": head.entries }))
    }
}
