//! What administrators see of files.

use std::fmt;

use audit::Deed;
use model::{
    ContentHash, MediaRecord, MediaState, QuarantineRecord, RoomSerial, StoredContent, UserSerial,
    tables::{
        MEDIA_BY_CONTENT, MEDIA_BY_ID, MEDIA_BY_ROOM, MEDIA_BY_USER, MEDIA_USAGE_BY_USER,
        PROTECTED_MEDIA, QUARANTINE_BY_CONTENT, REMOTE_MEDIA_BY_ID,
    },
};
use ruma_common::{MxcUri, OwnedServerName, ServerName};
use store::{Read, Snapshot, StoreError};

use crate::Media;

/// The most files that are listed at once.
const MOST: usize = 10_000;
/// How many files are looked at in one read.
const PAGE: usize = 5_000;

/// The name of a file: `mxc://server/media id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// The server on which it was uploaded.
    pub server: OwnedServerName,
    /// Its id there.
    pub media_id: String,
}

impl FileName {
    /// Reads an `mxc://` URI.
    pub fn parse(uri: &str) -> Option<Self> {
        let (server, media_id) = <&MxcUri>::from(uri).parts().ok()?;
        Some(Self {
            server: server.to_owned(),
            media_id: media_id.to_owned(),
        })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "mxc://{}/{}", self.server, self.media_id)
    }
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// Its name.
    pub name: FileName,
    /// When its media id was made, or, of another server's, when it was fetched; in ms since
    /// the Unix epoch.
    pub created_at: u64,
    /// Who uploaded it here, by user id.
    pub uploader: Option<String>,
    /// The room that it was uploaded for, by room id, if the client said so.
    pub room: Option<String>,
    /// Its bytes; none if it was announced and has not come.
    pub content: Option<StoredContent>,
    /// Who has put its bytes into quarantine, if somebody has.
    pub quarantine: Option<QuarantineRecord>,
    /// Whether it is not put there with others.
    pub is_protected: bool,
}

/// Some of a person's files.
#[derive(Clone, Debug)]
pub struct FilesPage {
    /// The files.
    pub files: Vec<FileFacts>,
    /// How many there are in all.
    pub total: u64,
}

/// In which order files are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

impl Media {
    /// What is known of a file.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn file_facts(&self, file: FileName) -> Result<Option<FileFacts>, StoreError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| facts(view, &own, file);
        self.store().read(read).await
    }

    /// What is known of several files; those that are not here are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn facts_of(&self, files: Vec<FileName>) -> Result<Vec<FileFacts>, StoreError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| {
            let mut found = Vec::new();
            for file in files {
                found.extend(facts(view, &own, file)?);
            }
            Ok(found)
        };
        self.store().read_long(read).await
    }

    /// A person's files, `limit` of them from the `from`th on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files_of_user(
        &self,
        user: UserSerial,
        order: Order,
        from: usize,
        limit: usize,
    ) -> Result<FilesPage, StoreError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| {
            let usage = view.get(&MEDIA_USAGE_BY_USER, &user)?.unwrap_or_default();
            let rows = match order {
                Order::NewestFirst => view.scan_back(&MEDIA_BY_USER, &(user,), None),
                Order::OldestFirst => view.scan(&MEDIA_BY_USER, &(user,)),
            };
            let mut files = Vec::new();
            for row in rows.skip(from).take(limit.min(MOST)) {
                let ((_, _, media_id), ()) = row?;
                let name = FileName {
                    server: own.clone(),
                    media_id,
                };
                files.extend(facts(view, &own, name)?);
            }
            Ok(FilesPage {
                files,
                total: usage.files,
            })
        };
        self.store().read_long(read).await
    }

    /// The files that were uploaded for a room, as their clients said.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files_for_room(&self, room: RoomSerial) -> Result<Vec<FileName>, StoreError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| {
            let rows = view.scan(&MEDIA_BY_ROOM, &(room,));
            rows.map(|row| {
                let ((_, media_id), ()) = row?;
                Ok(FileName {
                    server: own.clone(),
                    media_id,
                })
            })
            .collect::<Result<Vec<FileName>, StoreError>>()
        };
        self.store().read_long(read).await
    }

    /// The files that have these bytes, those of other servers included.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files_with(&self, hash: ContentHash) -> Result<Vec<FileName>, StoreError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| {
            let mut names = Vec::new();
            for row in view.scan(&MEDIA_BY_CONTENT, &(hash,)).take(MOST) {
                let ((_, shared), ()) = row?;
                names.extend(named(&own, &shared));
            }
            Ok::<_, StoreError>(names)
        };
        self.store().read_long(read).await
    }

    /// The files of this server that were uploaded before a moment, in ms since the Unix
    /// epoch, and have more than `longer_than` bytes.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files_before(
        &self,
        before: u64,
        longer_than: u64,
    ) -> Result<Vec<FileName>, StoreError> {
        let own = self.inner.server_name.clone();
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let from = after.clone().unwrap_or_default();
            let read = move |view: &Snapshot| {
                view.scan_from(&MEDIA_BY_ID, &(), &from)
                    .take(PAGE)
                    .collect::<Result<Vec<(String, MediaRecord)>, StoreError>>()
            };
            let page: Vec<(String, MediaRecord)> = self.store().read_long(read).await?;
            let is_last = page.len() < PAGE;
            let last = page.last().map(|(media_id, _)| media_id.clone());
            for (media_id, record) in page {
                if after.as_ref() == Some(&media_id) {
                    continue;
                }
                if let MediaState::Stored(content) = record.state
                    && record.created_at < before
                    && content.length > longer_than
                {
                    let server = own.clone();
                    names.push(FileName { server, media_id });
                }
            }
            after = last;
            if is_last {
                return Ok(names);
            }
        }
    }

    /// Deletes a file: of this server for ever, of another one until it is fetched again.
    /// Returns whether there was such a file here.
    ///
    /// # Errors
    /// [`crate::StorageError`].
    pub async fn delete_file(
        &self,
        file: &FileName,
        deed: Deed,
    ) -> Result<bool, crate::StorageError> {
        if self.is_own(&file.server) {
            self.delete(&file.media_id, Some(deed)).await
        } else {
            self.delete_remote(&file.server, &file.media_id, Some(deed))
                .await
        }
    }
}

/// The name behind one that stands with the bytes that files share.
fn named(own: &ServerName, shared: &str) -> Option<FileName> {
    // Media ids have no slash.
    let (server, media_id) = match shared.rsplit_once('/') {
        Some((server, media_id)) => (OwnedServerName::try_from(server).ok()?, media_id),
        None => (own.to_owned(), shared),
    };
    Some(FileName {
        server,
        media_id: media_id.to_owned(),
    })
}

fn facts(
    view: &impl Read,
    own: &ServerName,
    name: FileName,
) -> Result<Option<FileFacts>, StoreError> {
    if name.server != own {
        let key = (name.server.to_string(), name.media_id.clone());
        let Some(record) = view.get(&REMOTE_MEDIA_BY_ID, &key)? else {
            return Ok(None);
        };
        return Ok(Some(FileFacts {
            created_at: record.content.uploaded_at,
            uploader: None,
            room: None,
            quarantine: view.get(&QUARANTINE_BY_CONTENT, &record.content.hash)?,
            content: Some(record.content),
            is_protected: false,
            name,
        }));
    }
    let Some(record) = view.get(&MEDIA_BY_ID, &name.media_id)? else {
        return Ok(None);
    };
    let content = match record.state {
        MediaState::Pending { .. } => None,
        MediaState::Stored(content) => Some(content),
    };
    let quarantine = match &content {
        Some(content) => view.get(&QUARANTINE_BY_CONTENT, &content.hash)?,
        None => None,
    };
    let room = match record.room {
        Some(room) => model::room_id(view, room)?,
        None => None,
    };
    Ok(Some(FileFacts {
        created_at: record.created_at,
        uploader: model::user_id(view, record.uploader)?,
        room,
        is_protected: view.contains(&PROTECTED_MEDIA, &name.media_id)?,
        content,
        quarantine,
        name,
    }))
}

/// The bytes of a file.
pub(crate) fn hash_of(
    view: &impl Read,
    own: &ServerName,
    file: &FileName,
) -> Result<Option<ContentHash>, StoreError> {
    if file.server != own {
        let key = (file.server.to_string(), file.media_id.clone());
        let record = view.get(&REMOTE_MEDIA_BY_ID, &key)?;
        return Ok(record.map(|record| record.content.hash));
    }
    let record = view.get(&MEDIA_BY_ID, &file.media_id)?;
    Ok(record.and_then(|record| match record.state {
        MediaState::Stored(content) => Some(content.hash),
        MediaState::Pending { .. } => None,
    }))
}
