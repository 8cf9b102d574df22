//! Closing an account with all that hangs on it: the rooms that its person alone ran are handed
//! over, then the account ends, then it leaves its rooms. What broke off goes on.

use accounts::{AccountSummary, AdministrationError as AccountError, Closing, closer};
use audit::Verb;
use model::{ClosingRecord, UserSerial};
use rooms::{AppendError, RoomRunAlone, Sender, rooms_run_alone};
use ruma_common::{OwnedRoomId, OwnedUserId, UserId};
use runtime::Stop;
use serde_json::json;
use store::{Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, PeopleError, Right};

/// A room that closing an account concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The room.
    pub room: RoomRunAlone,
    /// Who is to run it; nobody, where no member of this server could.
    pub to: Option<OwnedUserId>,
}

impl Actions {
    /// The rooms that somebody runs alone, and who would run them if the account were closed
    /// now: `to`, or the most senior member of each. Nothing is changed.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn plan_closing(
        &self,
        by: &Administrator,
        user: &str,
        to: Option<&str>,
    ) -> Result<Vec<Handover>, AdministrationError> {
        by.must(Right::DeactivatePerson)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        let heir = self.heir(found.user, to).await?;
        Ok(self.handovers(found.user, &found.user_id, heir).await?)
    }

    /// Closes somebody's account for ever. Where wanted, the rooms that they ran alone are
    /// handed over first.
    ///
    /// # Errors
    /// [`AdministrationError`]; what was begun goes on when it is asked for again, or when the
    /// server starts.
    pub async fn close_account(
        &self,
        by: &Administrator,
        user: &str,
        closing: Closing,
    ) -> Result<Vec<Handover>, AdministrationError> {
        by.must(Right::DeactivatePerson)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        let heir = self.heir(found.user, closing.to.as_deref()).await?;
        let closing = Closing {
            to: heir.map(|heir| heir.to_string()),
            ..closing
        };
        let erase = closing.erase;
        let begun = self.accounts.begin_closing(by.act(), found.user, closing);
        let done = match begun.await {
            Ok(record) => self.finish_closing(&found, &record).await?,
            // It is closed, and may still be erased, or have rooms left over.
            Err(AccountError::Deactivated) => {
                self.deactivate(by.act(), &found.user_id, found.user, erase)
                    .await?;
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        log::info!(user_id = found.user_id.as_str(), erase; "account deactivated by an administrator");
        Ok(done)
    }

    /// Goes on with the accounts whose closing broke off.
    pub async fn finish_closings(&self, stop: Stop) {
        let finished = tokio::select! {
            () = stop.stopped() => return,
            finished = self.try_finish_closings() => finished,
        };
        if let Err(error) = finished {
            log::error!("an account is not closed wholly, until a restart: {error}");
        }
    }

    async fn try_finish_closings(&self) -> Result<(), AdministrationError> {
        for (user, record) in self.accounts.closings().await? {
            let read = move |view: &Snapshot| model::user_id(view, user);
            let user_id: Option<String> = self.rooms.store().read(read).await?;
            let found = self.user(&user_id.unwrap_or_default()).await?;
            self.finish_closing(&found, &record).await?;
            log::info!(user_id = found.user_id.as_str(); "the closing of an account went on to its end");
        }
        Ok(())
    }

    async fn finish_closing(
        &self,
        found: &AccountSummary,
        record: &ClosingRecord,
    ) -> Result<Vec<Handover>, AdministrationError> {
        let act = closer(record);
        let is_open = found.account.deactivated_at.is_none();
        let mut done = Vec::new();
        if record.hands_over && is_open {
            let heir = record.to.as_deref();
            let heir = heir.and_then(|heir| OwnedUserId::try_from(heir).ok());
            done = self.handovers(found.user, &found.user_id, heir).await?;
            for handover in &done {
                self.hand_over(found, record, handover).await?;
            }
        }
        self.deactivate(&act, &found.user_id, found.user, record.erase)
            .await?;
        self.accounts.end_closing(found.user).await?;
        Ok(done)
    }

    async fn handovers(
        &self,
        user: UserSerial,
        user_id: &UserId,
        heir: Option<OwnedUserId>,
    ) -> Result<Vec<Handover>, StoreError> {
        let (rooms, user_id) = (self.rooms.clone(), user_id.to_owned());
        let read = move |view: &Snapshot| rooms_run_alone(&rooms, view, user, &user_id);
        let found: Vec<RoomRunAlone> = self.rooms.store().read_long(read).await?;
        let handovers = found.into_iter().map(|room| Handover {
            to: heir.clone().or_else(|| room.successor.clone()),
            room,
        });
        Ok(handovers.collect())
    }

    /// Hands one room over. One that does not let it happen is passed over: the account is
    /// closed all the same, and the room can be taken over later.
    async fn hand_over(
        &self,
        found: &AccountSummary,
        record: &ClosingRecord,
        handover: &Handover,
    ) -> Result<(), AdministrationError> {
        let Some(to) = &handover.to else {
            return Ok(());
        };
        let host = Sender {
            user_id: found.user_id.clone(),
            user: found.user,
            device: None,
            sent_at: None,
        };
        let room_id = &handover.room.room_id;
        let deed = closer(record).did(Verb::RoomHandedOver).on(to.as_str());
        let deed = deed
            .within(room_id.as_str())
            .before(json!({ "run_by": found.user_id }))
            .after(json!({ "run_by": to }));
        let room = handover.room.room;
        let given = async {
            self.rooms.hand_over(&host, room, to, deed).await?;
            if !self.rooms.is_in(room, to).await? {
                let room_id = OwnedRoomId::try_from(room_id.as_str())
                    .map_err(|_| AppendError::UnknownRoom)?;
                let reason = record.reason.clone();
                self.rooms.invite(&host, &room_id, to, reason).await?;
            }
            Ok::<_, AppendError>(())
        };
        match given.await {
            Ok(()) => Ok(()),
            Err(AppendError::Store(error)) => Err(error.into()),
            Err(error) => {
                log::warn!("{room_id} was not handed over to {to}: {error}");
                Ok(())
            }
        }
    }

    /// Who is named to run the rooms of somebody: another one of this server, who can.
    async fn heir(
        &self,
        leaving: UserSerial,
        typed: Option<&str>,
    ) -> Result<Option<OwnedUserId>, AdministrationError> {
        let Some(typed) = typed else {
            return Ok(None);
        };
        let heir = self.user(typed).await?;
        let user = heir.user;
        let read = move |view: &Snapshot| accounts::is_partner(view, user);
        let is_partner: bool = self.rooms.store().read(read).await?;
        let can = heir.user != leaving
            && heir.account.deactivated_at.is_none()
            && !heir.account.is_locked
            && !is_partner;
        match can {
            true => Ok(Some(heir.user_id)),
            false => Err(PeopleError::Heir(heir.user_id.to_string()).into()),
        }
    }
}
