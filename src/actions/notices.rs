//! What the server says to its users.

use accounts::{AccountDataError, Session, UsernameError};
use audit::Verb;
use model::{AccountRecord, UserSerial};
use rooms::{AppendError, Notice, Sender, SentNotice};
use ruma_common::{OwnedEventId, OwnedUserId, UserId};
use runtime::Boxed;
use serde_json::json;
use store::{Snapshot, StoreError};

use crate::{Actions, Administrator, Denied, Right, sender};

/// The tag of the room in which the server speaks (client-server API, "Server Notices").
const TAG: &str = "m.server_notice";

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The administrator's roles do not allow it (403 `M_FORBIDDEN`).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such account.
    #[error("there is no such account on this server")]
    NotFound,
    /// The event was refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The room could not be tagged.
    #[error(transparent)]
    Tag(#[from] AccountDataError),
    /// There is no user in whose name the server could speak.
    #[error(transparent)]
    Server(#[from] UsernameError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an administrator lets the server say.
#[derive(Clone, Debug)]
pub struct NewNotice {
    /// To whom.
    pub user_id: OwnedUserId,
    /// The event type; `m.room.message` if `None`.
    pub event_type: Option<String>,
    /// The state key, for state.
    pub state_key: Option<String>,
    /// The content, a JSON object.
    pub content: Vec<u8>,
    /// The administrator's transaction id: the same one makes one event.
    pub transaction_id: Option<String>,
}

impl Actions {
    /// Lets the server say something to a user, in the room that it has for that user alone.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub async fn send_notice(
        &self,
        by: &Administrator,
        administrator: &Session,
        new: NewNotice,
    ) -> Result<OwnedEventId, NoticeError> {
        by.must(Right::SendNotice)?;
        let deed = by.act().did(Verb::NoticeSent).on(new.user_id.as_str());
        let target = new.user_id.clone();
        let find = move |view: &Snapshot| accounts::find(view, &target);
        let (user, _) = self
            .rooms
            .store()
            .read(find)
            .await?
            .filter(|(_, account)| account.deactivated_at.is_none())
            .ok_or(NoticeError::NotFound)?;
        let asking = sender(administrator);
        let notice = Notice {
            user_id: new.user_id,
            user,
            event_type: new
                .event_type
                .unwrap_or_else(|| "m.room.message".to_owned()),
            state_key: new.state_key,
            content: new.content,
            transaction: new.transaction_id.map(|id| (asking, id)),
            deed: Some(deed),
        };
        let sent = self.speak(user, notice).await?;
        log::info!(administrator = administrator.user_id.as_str(), event_id = sent.event_id.as_str(); "server notice sent");
        Ok(sent.event_id)
    }

    /// Says something of the server's own to one of its users.
    pub(crate) async fn say_to(&self, user_id: &UserId, text: String) -> Result<(), NoticeError> {
        let target = user_id.to_owned();
        let find = move |view: &Snapshot| accounts::find(view, &target);
        let found: Option<(UserSerial, AccountRecord)> = self.rooms.store().read(find).await?;
        let (user, _) = found
            .filter(|(_, account)| account.deactivated_at.is_none())
            .ok_or(NoticeError::NotFound)?;
        let content = json!({ "msgtype": "m.text", "body": text });
        let notice = Notice {
            user_id: user_id.to_owned(),
            user,
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: content.to_string().into_bytes(),
            transaction: None,
            deed: None,
        };
        self.speak(user, notice).await.map(drop)
    }

    fn speak(
        &self,
        user: UserSerial,
        notice: Notice,
    ) -> Boxed<'_, Result<SentNotice, NoticeError>> {
        Box::pin(async move {
            let (server_id, server) = self.accounts.server_user().await?;
            let server = Sender {
                user_id: server_id,
                user: server,
                device: None,
                sent_at: None,
            };
            let sent = self.rooms.notice(&server, notice).await?;
            self.accounts
                .put_tag(user, sent.room, TAG.to_owned(), json!({}))
                .await?;
            Ok(sent)
        })
    }
}
