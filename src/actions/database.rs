//! What an operator asks about the database.

use audit::Verb;
use serde_json::{Map, Value, json};
use store::{DiskUse, Snapshot};

use crate::{Actions, AdministrationError, Administrator, Right};

/// The copy that a backup is made from, in the data folder.
pub const CHECKPOINT: &str = "checkpoint";

impl Actions {
    /// How many events there are, how long they are, and what the database takes.
    pub(crate) async fn show_database(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ShowDatabase)?;
        let store = self.rooms.store();
        let volume: rooms::Volume = store
            .read_long(|view: &Snapshot| rooms::volume(view))
            .await?;
        let used = store.disk_use().await?;
        Ok(json!({
            "events": volume.events,
            "canonical_bytes": volume.canonical_bytes,
            "disk_bytes": used.total,
            "write_ahead_log_bytes": used.write_ahead_log,
            "families": families(&used),
        }))
    }

    /// Copies the database as it is now to where a backup is made from.
    pub(crate) async fn copy_database(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CopyDatabase)?;
        // Before it is done: the copy has the entry too.
        self.tell(by.act().did(Verb::DatabaseCopied)).await?;
        let store = self.rooms.store();
        let folder = store.folder().join(CHECKPOINT);
        store.checkpoint(&folder).await?;
        log::info!("the database was copied for a backup");
        Ok(json!({ "folder": folder }))
    }

    /// Compacts the database, and says what it takes then and what it took before.
    pub(crate) async fn compact_database(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CompactDatabase)?;
        self.tell(by.act().did(Verb::DatabaseCompacted)).await?;
        let store = self.rooms.store();
        let before = store.disk_use().await?;
        log::info!("the database is compacted");
        store.compact().await?;
        let mut shown = self.show_database(by).await?;
        log::info!(before = before.total, after:% = shown["disk_bytes"]; "the database was compacted");
        shown["disk_bytes_before"] = before.total.into();
        Ok(shown)
    }
}

fn families(used: &DiskUse) -> Map<String, Value> {
    let family = |(name, size): &(&'static str, u64)| ((*name).to_owned(), Value::from(*size));
    used.families.iter().map(family).collect()
}
