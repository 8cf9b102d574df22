//! What administrators do with files: those that one names, those of a person, of a room, and
//! those that have certain bytes.

use std::collections::BTreeSet;

use audit::{Deed, Verb};
use media::{FileFacts, FileName, FilesPage, Order, StorageError, parse_hash};
use model::{QuarantineChangeRecord, UserSerial};
use ruma_common::RoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Denied, Right};

/// How many files one verb takes.
const MOST: usize = 100_000;
/// How many files of a person are looked at in one read.
const PAGE: usize = 5_000;

/// Which files an administrator means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSelection {
    /// The one of this `mxc://` URI.
    File(String),
    /// Those that a person has uploaded: the localpart or the whole id.
    User(String),
    /// Those that the events of a room name, and those that were uploaded for it.
    Room(String),
    /// Those that have these bytes: their SHA-256 in hexadecimal.
    Hash(String),
    /// Those of this server that were uploaded before a time, in ms since the Unix epoch.
    Before(u64),
}

/// Why files were not found or not dealt with.
#[derive(Debug, thiserror::Error)]
pub enum FileModerationError {
    /// The administrator's roles do not allow it (403 `M_FORBIDDEN`).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It is no file's name (`M_INVALID_PARAM`).
    #[error("{0:?} is no file: write mxc://server/id")]
    FileName(String),
    /// It is no hash (`M_INVALID_PARAM`).
    #[error("{0:?} is no SHA-256: write its 64 hexadecimal digits")]
    Hash(String),
    /// It is no room's id (`M_INVALID_PARAM`).
    #[error("{0:?} is no room id")]
    RoomId(String),
    /// There is no such user (`M_NOT_FOUND`).
    #[error("there is no user {0:?} on this server")]
    UnknownUser(String),
    /// There is no such room (`M_NOT_FOUND`).
    #[error("there is no room {0:?} on this server")]
    UnknownRoom(String),
    /// There is no such file (`M_NOT_FOUND`).
    #[error("there is no file {0} on this server")]
    UnknownFile(String),
    /// A file cannot be removed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Actions {
    /// The files that an administrator means. Of a person's and a room's, those that are not
    /// here are named too.
    ///
    /// # Errors
    /// [`FileModerationError`].
    pub async fn select_files(
        &self,
        by: &Administrator,
        selection: &FileSelection,
    ) -> Result<Vec<FileName>, FileModerationError> {
        by.must(Right::ListFiles)?;
        match selection {
            FileSelection::File(uri) => Ok(vec![file_name(uri)?]),
            FileSelection::Hash(text) => Ok(self.media.files_with(hash(text)?).await?),
            FileSelection::Before(time) => Ok(self.media.files_before(*time, 0).await?),
            FileSelection::User(typed) => {
                let user = self.uploader(typed).await?;
                let mut names = Vec::new();
                while names.len() < MOST {
                    let from = names.len();
                    let page = self
                        .files_of_user(by, user, Order::OldestFirst, from, PAGE)
                        .await?;
                    let is_last = page.files.len() < PAGE;
                    names.extend(page.files.into_iter().map(|facts| facts.name));
                    if is_last {
                        break;
                    }
                }
                Ok(names)
            }
            FileSelection::Room(room_id) => {
                let parsed = RoomId::parse(room_id);
                let parsed = parsed.map_err(|_| FileModerationError::RoomId(room_id.clone()))?;
                let found = self.rooms.files_named_in(&parsed).await;
                let (room, named) = found.map_err(|error| match error {
                    rooms::ReadError::Store(error) => FileModerationError::Store(error),
                    _ => FileModerationError::UnknownRoom(room_id.clone()),
                })?;
                let mut names: BTreeSet<FileName> = named
                    .iter()
                    .filter_map(|uri| FileName::parse(uri))
                    .collect();
                names.extend(self.media.files_for_room(room).await?);
                Ok(names.into_iter().collect())
            }
        }
    }

    /// A person's files, `limit` of them from the `from`th on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files_of_user(
        &self,
        by: &Administrator,
        user: UserSerial,
        order: Order,
        from: usize,
        limit: usize,
    ) -> Result<FilesPage, FileModerationError> {
        by.must(Right::ListFiles)?;
        Ok(self.media.files_of_user(user, order, from, limit).await?)
    }

    /// The serial of a person whose files are meant.
    ///
    /// # Errors
    /// [`FileModerationError::UnknownUser`].
    pub async fn uploader(&self, typed: &str) -> Result<UserSerial, FileModerationError> {
        let unknown = || FileModerationError::UnknownUser(typed.to_owned());
        let user_id = self.accounts.typed_user_id(typed).ok_or_else(unknown)?;
        let find = move |view: &Snapshot| accounts::find(view, &user_id);
        let found: Option<(UserSerial, model::AccountRecord)> =
            self.rooms.store().read(find).await?;
        Ok(found.ok_or_else(unknown)?.0)
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// [`FileModerationError::UnknownFile`] if it is not here.
    pub async fn file_facts(
        &self,
        by: &Administrator,
        file: FileName,
    ) -> Result<FileFacts, FileModerationError> {
        by.must(Right::ListFiles)?;
        let name = file.to_string();
        let found = self.media.file_facts(file).await?;
        found.ok_or(FileModerationError::UnknownFile(name))
    }

    /// Puts files into quarantine: nobody can fetch them, nor other files with the same bytes.
    /// Returns how many were not there before.
    ///
    /// # Errors
    /// [`FileModerationError`].
    pub async fn quarantine_files(
        &self,
        by: &Administrator,
        selection: &FileSelection,
    ) -> Result<usize, FileModerationError> {
        by.must(Right::QuarantineFiles)?;
        let files = self.select_files(by, selection).await?;
        self.must_be_here(by, selection).await?;
        let deed = self.of_selection(by, Verb::FilesQuarantined, selection);
        let number = files.len();
        let is_hash = matches!(selection, FileSelection::Hash(_));
        let told = (!is_hash).then(|| deed.clone());
        let mut count = self.media.quarantine(files, by.user_id(), told).await?;
        if let FileSelection::Hash(text) = selection {
            // The bytes themselves are meant, whoever has them or will have them.
            self.media
                .quarantine_hash(hash(text)?, by.user_id(), deed)
                .await?;
            count = number;
        }
        log::info!(administrator = by.name(), selection:? = selection, count; "files put into quarantine");
        Ok(count)
    }

    /// Gives files out again. Returns how many of them were in quarantine.
    ///
    /// # Errors
    /// [`FileModerationError`].
    pub async fn unquarantine_files(
        &self,
        by: &Administrator,
        selection: &FileSelection,
    ) -> Result<usize, FileModerationError> {
        by.must(Right::QuarantineFiles)?;
        let files = self.select_files(by, selection).await?;
        self.must_be_here(by, selection).await?;
        let deed = self.of_selection(by, Verb::FilesReleased, selection);
        let mut count = self.media.unquarantine(files, Some(deed.clone())).await?;
        if let FileSelection::Hash(text) = selection
            && self.media.unquarantine_hash(hash(text)?, deed).await?
        {
            count = count.max(1);
        }
        log::info!(administrator = by.name(), selection:? = selection, count; "files taken out of quarantine");
        Ok(count)
    }

    /// What was put into quarantine, or taken out of it, from a place on, and the place of what comes
    /// next: the oldest first.
    ///
    /// # Errors
    /// [`FileModerationError`].
    pub async fn quarantine_changes(
        &self,
        by: &Administrator,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<QuarantineChangeRecord>, u64), FileModerationError> {
        by.must(Right::ListFiles)?;
        let read = move |view: &Snapshot| media::quarantine_changes(view, from, limit);
        Ok(self.rooms.store().read(read).await?)
    }

    /// Deletes files for ever; those of other servers until they are fetched again. Returns
    /// which of them were here.
    ///
    /// # Errors
    /// [`FileModerationError`]; some may be deleted then.
    pub async fn delete_files(
        &self,
        by: &Administrator,
        files: Vec<FileName>,
    ) -> Result<Vec<FileName>, FileModerationError> {
        by.must(Right::DeleteFiles)?;
        let mut deleted = Vec::new();
        for file in files {
            let deed = by.act().did(Verb::FileDeleted).on(file.to_string());
            if self.media.delete_file(&file, deed).await? {
                log::info!(administrator = by.name(), file:% = file; "file deleted by an administrator");
                deleted.push(file);
            }
        }
        Ok(deleted)
    }

    /// Deletes this server's files of before a moment, in ms since the Unix epoch, that have
    /// more than `longer_than` bytes; with `keeps_pictures` not those that are a person's or a
    /// room's picture. Returns which.
    ///
    /// # Errors
    /// [`FileModerationError`]; some may be deleted then.
    pub async fn delete_old_files(
        &self,
        by: &Administrator,
        before: u64,
        longer_than: u64,
        keeps_pictures: bool,
    ) -> Result<Vec<FileName>, FileModerationError> {
        by.must(Right::DeleteFiles)?;
        let mut files = self.media.files_before(before, longer_than).await?;
        if keeps_pictures {
            let pictures = self.pictures().await?;
            files.retain(|file| !pictures.contains(&file.to_string()));
        }
        self.delete_files(by, files).await
    }

    /// Removes the files of other servers that were fetched before a moment, in ms since the
    /// Unix epoch. Returns how many.
    ///
    /// # Errors
    /// [`FileModerationError`]; some may be removed then.
    pub async fn purge_remote_files(
        &self,
        by: &Administrator,
        before: u64,
    ) -> Result<usize, FileModerationError> {
        by.must(Right::DeleteFiles)?;
        let deed = by.act().did(Verb::RemoteFilesPurged);
        let deed = deed.after(json!({ "fetched_before": before }));
        let count = self.media.delete_remote_before(before, deed).await?;
        log::info!(administrator = by.name(), before, count; "files of other servers removed by an administrator");
        Ok(count)
    }

    /// Protects a file of this server from quarantine with others, or ends that.
    ///
    /// # Errors
    /// [`FileModerationError::UnknownFile`].
    pub async fn protect_file(
        &self,
        by: &Administrator,
        media_id: &str,
        is_protected: bool,
    ) -> Result<(), FileModerationError> {
        by.must(Right::QuarantineFiles)?;
        let uri = self.media.uri(media_id);
        let deed = by.act().did(Verb::FileProtected).on(uri.clone());
        let deed = deed
            .before((!is_protected).into())
            .after(is_protected.into());
        let is_known = self.media.set_protected(media_id, is_protected, deed);
        if !is_known.await? {
            return Err(FileModerationError::UnknownFile(uri));
        }
        log::info!(administrator = by.name(), media_id, is_protected; "file protected from quarantine, or not any more");
        Ok(())
    }

    /// The files that are somebody's or some room's picture.
    async fn pictures(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut pictures = self.rooms.avatars().await?;
        let read = |view: &Snapshot| accounts::avatars(view);
        let avatars: Vec<String> = self.rooms.store().read_long(read).await?;
        pictures.extend(avatars);
        Ok(pictures)
    }

    /// Refuses a file that one named and that is not here.
    async fn must_be_here(
        &self,
        by: &Administrator,
        selection: &FileSelection,
    ) -> Result<(), FileModerationError> {
        if let FileSelection::File(uri) = selection {
            self.file_facts(by, file_name(uri)?).await?;
        }
        Ok(())
    }

    /// What the audit trail is told of many files.
    fn of_selection(&self, by: &Administrator, verb: Verb, selection: &FileSelection) -> Deed {
        let deed = by.act().did(verb);
        match selection {
            FileSelection::File(name) | FileSelection::Hash(name) => deed.on(name.clone()),
            FileSelection::User(typed) => {
                let user_id = self.accounts.typed_user_id(typed);
                deed.on(user_id.map_or_else(|| typed.clone(), |user_id| user_id.to_string()))
            }
            FileSelection::Room(room_id) => deed.within(room_id.clone()),
            FileSelection::Before(time) => deed.after(json!({ "uploaded_before": time })),
        }
    }

    /// The verbs of `cairn media`, answered in JSON.
    pub(crate) async fn administer_files(
        &self,
        by: &Administrator,
        wish: FileWish,
        selection: &FileSelection,
    ) -> Result<Value, AdministrationError> {
        match wish {
            FileWish::List => {
                self.must_be_here(by, selection).await?;
                let files = self.select_files(by, selection).await?;
                let found = self.media.facts_of(files).await;
                let found = found.map_err(FileModerationError::from)?;
                let shown: Vec<Value> = found.iter().map(shown).collect();
                Ok(json!({ "files": shown }))
            }
            FileWish::Delete => {
                self.must_be_here(by, selection).await?;
                let files = self.select_files(by, selection).await?;
                let deleted = self.delete_files(by, files).await?;
                let names: Vec<String> = deleted.iter().map(FileName::to_string).collect();
                Ok(json!({ "deleted": names }))
            }
            FileWish::Quarantine => {
                let count = self.quarantine_files(by, selection).await?;
                Ok(json!({ "quarantined": count }))
            }
            FileWish::Unquarantine => {
                let count = self.unquarantine_files(by, selection).await?;
                Ok(json!({ "unquarantined": count }))
            }
        }
    }
}

/// What `cairn media` does with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileWish {
    /// Shows what is known of them.
    List,
    /// Deletes them for ever.
    Delete,
    /// Lets nobody fetch them.
    Quarantine,
    /// Lets them be fetched again.
    Unquarantine,
}

fn shown(facts: &FileFacts) -> Value {
    let content = facts.content.as_ref();
    json!({
        "uri": facts.name.to_string(),
        "created_at": facts.created_at,
        "uploader": facts.uploader,
        "room_id": facts.room,
        "length": content.map(|content| content.length),
        "content_type": content.map(|content| content.content_type.as_str()),
        "name": content.and_then(|content| content.filename.as_deref()),
        "sha256": content.map(|content| hexadecimal(&content.hash)),
        "quarantined": facts.quarantine.is_some(),
        "quarantined_by": facts.quarantine.as_ref().and_then(|record| record.by.as_deref()),
        "protected": facts.is_protected,
    })
}

fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file_name(uri: &str) -> Result<FileName, FileModerationError> {
    FileName::parse(uri).ok_or_else(|| FileModerationError::FileName(uri.to_owned()))
}

fn hash(text: &str) -> Result<[u8; 32], FileModerationError> {
    parse_hash(text).ok_or_else(|| FileModerationError::Hash(text.to_owned()))
}
