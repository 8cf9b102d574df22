//! Other servers, and how much people have uploaded, as administrators list them.

use std::collections::{BTreeMap, HashMap};

use model::{MediaUsageRecord, PeopleList, UserSerial};
use store::{Read as _, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// Another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub server: String,
    /// In how many rooms it is together with people of this server.
    pub rooms: u64,
    /// Since when it does not answer, in ms since the Unix epoch.
    pub failing_since: Option<u64>,
    /// When it is tried again, in ms since the Unix epoch.
    pub retry_at: Option<u64>,
    /// After how many ms it is tried again.
    pub retry_interval: Option<u64>,
    /// Why it failed last.
    pub reason: Option<String>,
}

/// How much somebody has uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaUsage {
    /// Who.
    pub user_id: String,
    /// The name that they go by.
    pub display_name: Option<String>,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Actions {
    /// The servers that are in rooms together with people of this one, and those that do not
    /// answer, by name.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn destinations(
        &self,
        by: &Administrator,
    ) -> Result<Vec<Destination>, AdministrationError> {
        by.must(Right::ShowFederation)?;
        let read = |view: &Snapshot| rooms::servers_met(view);
        let met: BTreeMap<String, u64> = self.rooms.store().read_long(read).await?;
        let mut found: BTreeMap<String, Destination> = met
            .into_iter()
            .map(|(server, rooms)| {
                let destination = Destination {
                    server: server.clone(),
                    rooms,
                    ..Destination::default()
                };
                (server, destination)
            })
            .collect();
        for (server, failing) in self.peers.status().await?.failing {
            let one = found.entry(server.to_string()).or_default();
            one.server = server.to_string();
            one.failing_since = Some(failing.since.0);
            one.retry_at = Some(failing.retry_at.0);
            let wait = failing.retry_at.since(failing.since).as_millis();
            one.retry_interval = u64::try_from(wait).ok();
            one.reason = Some(failing.reason.clone());
        }
        Ok(found.into_values().collect())
    }

    /// The rooms in which a server is together with people of this one.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rooms_with(
        &self,
        by: &Administrator,
        server: &str,
    ) -> Result<Vec<String>, AdministrationError> {
        by.must(Right::ShowFederation)?;
        let server = server.to_owned();
        let read = move |view: &Snapshot| -> Result<Vec<String>, StoreError> {
            let mut found = Vec::new();
            for row in view.scan(&model::tables::ROOM_BY_SERVER, &(server,)) {
                let ((_, room), ()) = row?;
                found.extend(model::room_id(view, room)?);
            }
            Ok(found)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// How much each person has uploaded, those left out who have nothing.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn media_usage(
        &self,
        by: &Administrator,
    ) -> Result<Vec<MediaUsage>, AdministrationError> {
        by.must(Right::ShowUsage)?;
        let server = self.accounts.server_name().to_owned();
        let read = move |view: &Snapshot| -> Result<Vec<MediaUsage>, StoreError> {
            let rows = view.scan(&model::tables::MEDIA_USAGE_BY_USER, &());
            let counted: Result<HashMap<UserSerial, MediaUsageRecord>, StoreError> = rows.collect();
            let counted = counted?;
            let mut usage = Vec::new();
            for listed in accounts::listed_people(view, PeopleList::Everybody, None) {
                let listed = listed?;
                if let Some(record) = counted.get(&listed.user)
                    && record.files > 0
                {
                    usage.push(MediaUsage {
                        user_id: format!("@{}:{server}", listed.localpart),
                        display_name: listed.known.display_name,
                        files: record.files,
                        bytes: record.bytes,
                    });
                }
            }
            Ok(usage)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}
