//! What administrators begin with rooms and takes long: it goes on in the background, and after a
//! restart where it was.

use audit::Verb;
use graph::{MAX_JSON_DEPTH, canonical};
use model::RoomTaskRecord;
use rooms::{
    AppendError, Boundary, CreateRoom, Preset, RoomTask, Sender, WantedRedaction, WantedRemoval,
    WantedShrinking,
};
use ruma_common::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Value, json};
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, FileSelection, Right};

/// The most that is listed of what was begun.
const MOST: usize = 1_000;

/// How an administrator wants a room to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedRoom {
    /// The room's id, or an alias of it.
    pub room: String,
    /// Whether everything of it is removed when nobody of this server is in it any more.
    pub purge: bool,
    /// Whether nobody of this server may come into it again.
    pub block: bool,
    /// Whether the files go that its events name, and those that were uploaded for it.
    pub with_files: bool,
    /// The room into which those who go out are brought.
    pub new_room: Option<NewRoom>,
}

/// A room in which those who were in a deleted one are told why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Who makes it, and speaks there: a user of this server.
    pub creator: OwnedUserId,
    /// What it is called.
    pub name: String,
    /// What is said there.
    pub message: String,
}

impl Actions {
    /// Begins to delete a room: everybody of this server goes out, and then everything of it but
    /// the register and the audit trail is removed, if that is wanted. Returns the id of what was
    /// begun.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn delete_room(
        &self,
        by: &Administrator,
        wanted: DeletedRoom,
    ) -> Result<String, AdministrationError> {
        by.must(Right::DeleteRoom)?;
        let room_id = self.room_id_of(self.room_of(&wanted.room).await?).await?;
        if wanted.with_files {
            let files = FileSelection::Room(room_id.to_string());
            let files = self.select_files(by, &files).await?;
            self.delete_files(by, files).await?;
        }
        let new_room = match &wanted.new_room {
            Some(new) => Some((self.make_new_room(new).await?, new.creator.clone())),
            None => None,
        };
        let deed = by.act().did(Verb::RoomRemoved).within(room_id.as_str());
        let deed = deed.after(json!({
            "purge": wanted.purge,
            "block": wanted.block,
            "with_files": wanted.with_files,
            "new_room": new_room.as_ref().map(|(room_id, _)| room_id),
        }));
        let removal = WantedRemoval {
            room_id: room_id.to_string(),
            purges: wanted.purge,
            blocks: wanted.block,
            reason: by.act().reason.clone(),
            new_room: new_room.map(|(room_id, host)| (room_id.to_string(), host.to_string())),
        };
        let begun = self.rooms.begin_removal(by.user_id(), removal, deed);
        let id = begun.await?;
        log::info!(room_id = room_id.as_str(), id = id.as_str(), administrator = by.name(); "a room is being deleted");
        Ok(id)
    }

    /// Makes the room in which people are told why another is gone.
    async fn make_new_room(&self, new: &NewRoom) -> Result<OwnedRoomId, AdministrationError> {
        let creator = self.speaker(&new.creator).await?;
        // Nobody else says anything there.
        let levels = json!({ "events_default": 50, "invite": 50 }).to_string();
        let levels = canonical(levels.as_bytes(), MAX_JSON_DEPTH).map_err(AppendError::from)?;
        let wish = CreateRoom {
            preset: Some(Preset::PrivateChat),
            name: Some(new.name.clone()),
            power_level_content_override: levels,
            ..CreateRoom::default()
        };
        let room_id = self.rooms.create(&creator, wish).await?;
        let content = json!({ "msgtype": "m.text", "body": new.message }).to_string();
        let said = self
            .rooms
            .send(&creator, &room_id, "m.room.message", "", content.as_bytes())
            .await;
        said?;
        Ok(room_id)
    }

    /// A user of this server as who speaks in a room, on no device.
    async fn speaker(&self, user_id: &UserId) -> Result<Sender, AdministrationError> {
        let session = self.local(user_id).await?;
        Ok(Sender {
            user_id: session.user_id,
            user: session.user,
            device: None,
            sent_at: None,
        })
    }

    /// Begins to remove what was said in a room before an event or a time. Returns the id of what
    /// was begun.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn shrink_history(
        &self,
        by: &Administrator,
        room: &str,
        before: Boundary,
        with_local: bool,
    ) -> Result<String, AdministrationError> {
        by.must(Right::ShrinkHistory)?;
        let room_id = self.room_id_of(self.room_of(room).await?).await?;
        let up_to = match &before {
            Boundary::Event(event_id) => json!({ "event_id": event_id }),
            Boundary::Time(time) => json!({ "time": time }),
        };
        let deed = by.act().did(Verb::HistoryShrunk).within(room_id.as_str());
        let deed = deed.after(json!({ "before": up_to, "with_local": with_local }));
        let wanted = WantedShrinking {
            room_id: room_id.to_string(),
            before,
            with_local,
        };
        Ok(self
            .rooms
            .begin_shrinking(by.user_id(), wanted, deed)
            .await?)
    }

    /// Begins to redact what somebody has said. Returns the id of what was begun.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn redact_person(
        &self,
        by: &Administrator,
        wanted: WantedRedaction,
    ) -> Result<String, AdministrationError> {
        by.must(Right::RedactEvents)?;
        if let Some(in_the_name_of) = &wanted.by {
            self.local(in_the_name_of).await?;
        }
        let deed = by.act().did(Verb::EventsRedacted);
        let deed = deed.on(wanted.user_id.as_str()).after(json!({
            "rooms": wanted.rooms,
            "limit": wanted.limit,
            "after": wanted.after,
            "before": wanted.before,
        }));
        let begun = self.rooms.begin_redaction(by.user_id(), wanted, deed).await;
        begun.map_err(|error| match error {
            AppendError::NotFound(text) => AdministrationError::NotFound(text),
            other => other.into(),
        })
    }

    /// What was begun with rooms, the newest first.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_tasks(
        &self,
        by: &Administrator,
    ) -> Result<Vec<RoomTask>, AdministrationError> {
        by.must(Right::ShowRoomTasks)?;
        let read = |view: &Snapshot| rooms::room_tasks(view);
        let mut tasks: Vec<RoomTask> = self.rooms.store().read(read).await?;
        tasks.sort_by_key(|(_, task)| std::cmp::Reverse(task.started_at));
        tasks.truncate(MOST);
        Ok(tasks)
    }

    /// How something stands that was begun.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_task(
        &self,
        by: &Administrator,
        id: &str,
    ) -> Result<RoomTaskRecord, AdministrationError> {
        by.must(Right::ShowRoomTasks)?;
        let wanted = id.to_owned();
        let read = move |view: &Snapshot| rooms::room_task(view, &wanted);
        let found: Option<RoomTaskRecord> = self.rooms.store().read(read).await?;
        let unknown = || AdministrationError::NotFound(format!("nothing was begun as {id:?}"));
        found.ok_or_else(unknown)
    }
}

/// Something that was begun, as JSON.
pub(crate) fn shown_task((id, task): &RoomTask) -> Value {
    use model::{RoomTaskState, RoomWork};
    let (state, error) = match &task.state {
        RoomTaskState::Waiting => ("waiting", None),
        RoomTaskState::Active => ("active", None),
        RoomTaskState::Done => ("done", None),
        RoomTaskState::Failed(why) => ("failed", Some(why)),
    };
    let mut shown = json!({
        "id": id,
        "state": state,
        "by": task.by,
        "started_at": task.started_at,
        "finished_at": (task.finished_at > 0).then_some(task.finished_at),
        "done": task.done,
        "expected": task.expected,
    });
    if let Some(error) = error {
        shown["error"] = error.as_str().into();
    }
    let about = match &task.work {
        RoomWork::Removal(removal) => json!({
            "work": if removal.purges { "delete" } else { "empty" },
            "room_id": removal.room_id,
            "put_out": removal.put_out.len(),
            "not_put_out": removal.not_put_out,
        }),
        RoomWork::Shrinking(work) => json!({ "work": "shrink", "room_id": work.room_id }),
        RoomWork::Redaction(work) => json!({
            "work": "redact",
            "user_id": work.user_id,
            "failed": work.failed.len(),
        }),
    };
    if let (Value::Object(shown), Value::Object(about)) = (&mut shown, about) {
        shown.extend(about);
    }
    shown
}
