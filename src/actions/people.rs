//! People as administrators list and look at them, and what is done to their devices.

use accounts::{AccountSummary, Device, OwnEmail, Pusher, devices, display_name_and_avatar};
use audit::Verb;
use model::{
    Membership, PersonRecord, RoomSerial, UserSerial,
    tables::{ACCOUNT_DATA_BY_USER, MEMBERSHIP_BY_USER, STAY_BY_ROOM},
};
use rooms::RoomCalled;
use ruma_common::{OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Map, Value, json};
use store::{Read, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// A person as administrators see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub summary: AccountSummary,
    /// Where the person's picture is.
    pub avatar_url: Option<String>,
    /// Whether it is a guest.
    pub is_guest: bool,
    /// Whether the account is suspended.
    pub is_suspended: bool,
    /// What is known of them beside the account.
    pub about: PersonRecord,
}

/// Rooms that somebody is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonRooms {
    /// Some of them.
    pub rooms: Vec<RoomCalled>,
    /// How many there are in all.
    pub total: usize,
}

impl Actions {
    /// One person.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn person(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Person, AdministrationError> {
        by.must(Right::ShowPerson)?;
        let found = self.user(user).await?;
        let read = move |view: &Snapshot| of_summary(view, found);
        Ok(self.rooms.store().read(read).await?)
    }

    /// The e-mail addresses of a person.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn emails_of(
        &self,
        by: &Administrator,
        user: UserSerial,
    ) -> Result<Vec<OwnEmail>, AdministrationError> {
        by.must(Right::ShowPerson)?;
        let read = move |view: &Snapshot| accounts::emails(view, user);
        Ok(self.rooms.store().read(read).await?)
    }

    /// The person who has an e-mail address.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn person_of_email(
        &self,
        by: &Administrator,
        address: &str,
    ) -> Result<Option<OwnedUserId>, AdministrationError> {
        by.must(Right::ShowPerson)?;
        Ok(self.accounts.user_of_email(address).await?)
    }

    /// A person's devices.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn devices_of(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<(OwnedUserId, Vec<Device>), AdministrationError> {
        by.must(Right::ShowDevices)?;
        let found = self.user(user).await?;
        let user = found.user;
        let read = move |view: &Snapshot| devices(view, user);
        Ok((found.user_id, self.rooms.store().read(read).await?))
    }

    /// Signs devices of a person out.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn remove_devices_of(
        &self,
        by: &Administrator,
        user: &str,
        device_ids: Vec<OwnedDeviceId>,
    ) -> Result<(), AdministrationError> {
        by.must(Right::ChangeDevices)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        self.accounts
            .remove_devices(by.act(), found.user, device_ids)
            .await?;
        log::info!(user_id = found.user_id.as_str(); "devices signed out by an administrator");
        Ok(())
    }

    /// Gives a person's device another name.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rename_device_of(
        &self,
        by: &Administrator,
        user: &str,
        device_id: &OwnedDeviceId,
        name: Option<String>,
    ) -> Result<(), AdministrationError> {
        by.must(Right::ChangeDevices)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        let renamed = self
            .accounts
            .set_device_display_name(by.act(), found.user, device_id, name);
        Ok(renamed.await?)
    }

    /// A person's pushers.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn pushers_of(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Vec<Pusher>, AdministrationError> {
        by.must(Right::ShowDevices)?;
        self.read_of(user, accounts::pushers).await
    }

    /// A person's account data, of the account and of each room. It may hold what people wrote,
    /// so it is for administrators alone.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn account_data_of(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ReadAccountData)?;
        self.read_of(user, account_data).await
    }

    /// What is to be read of somebody.
    pub(crate) async fn read_of<T: Send + 'static>(
        &self,
        user: &str,
        read: impl FnOnce(&Snapshot, UserSerial) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AdministrationError> {
        let user = self.user(user).await?.user;
        let read = move |view: &Snapshot| read(view, user);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// What somebody's memberships are now, also of somebody of another server.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn memberships_of(
        &self,
        by: &Administrator,
        user_id: &UserId,
    ) -> Result<Vec<(OwnedRoomId, Membership)>, AdministrationError> {
        by.must(Right::ReadRegister)?;
        let typed = user_id.to_string();
        let read = move |view: &Snapshot| -> Result<Option<Vec<_>>, StoreError> {
            let Some(user) = rooms::user_serial(view, &typed)? else {
                return Ok(None);
            };
            let mut memberships = Vec::new();
            for row in view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
                let ((_, room), record) = row?;
                let room_id = model::room_id(view, room)?;
                let room_id = room_id.and_then(|id| OwnedRoomId::try_from(id).ok());
                memberships.extend(room_id.map(|room_id| (room_id, record.membership)));
            }
            Ok(Some(memberships))
        };
        let found: Option<Vec<_>> = self.rooms.store().read_long(read).await?;
        let unknown = || AdministrationError::UnknownUser(user_id.to_string());
        found.ok_or_else(unknown)
    }

    /// The rooms that somebody of this server is in: so many of them, and how many there are.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rooms_of_person(
        &self,
        by: &Administrator,
        user: UserSerial,
        limit: usize,
    ) -> Result<PersonRooms, AdministrationError> {
        by.must(Right::ReadRegister)?;
        let read = move |view: &Snapshot| -> Result<PersonRooms, StoreError> {
            let mut found = PersonRooms::default();
            for row in view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
                let ((_, room), record) = row?;
                if record.membership != Membership::Join {
                    continue;
                }
                found.total += 1;
                if found.rooms.len() < limit {
                    found.rooms.extend(rooms::room_called(view, room)?);
                }
            }
            Ok(found)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// How many rooms a person has come into since a moment, in ms since the Unix epoch.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn joins_since(
        &self,
        by: &Administrator,
        user: &str,
        since: u64,
    ) -> Result<usize, AdministrationError> {
        by.must(Right::ReadRegister)?;
        let user = self.user(user).await?.user;
        let read = move |view: &Snapshot| -> Result<usize, StoreError> {
            let mut joined = 0;
            for row in view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
                let ((_, room), _) = row?;
                for row in view.scan(&STAY_BY_ROOM, &(room, user)) {
                    let (_, stay) = row?;
                    if stay.membership == Membership::Join && stay.since >= since {
                        joined += 1;
                        break;
                    }
                }
            }
            Ok(joined)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// How many invitations to rooms a person has sent since a moment, in ms since the Unix
    /// epoch: as the audit trail tells it.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invitations_sent_since(
        &self,
        by: &Administrator,
        user: &str,
        since: u64,
    ) -> Result<usize, AdministrationError> {
        by.must(Right::ReadRegister)?;
        let name = self.user(user).await?.user_id.to_string();
        let read = move |view: &Snapshot| -> Result<usize, StoreError> {
            let filter = audit::Filter {
                by: Some(name),
                verb: Some(Verb::MembershipChanged.name().to_owned()),
                since: Some(since),
                ..audit::Filter::default()
            };
            let (mut sent, mut before) = (0, None);
            loop {
                let found = audit::find(view, &filter, before, 1_000)?;
                let invited = found.entries.iter().filter(|entry| entry.after == "invite");
                sent += invited.count();
                before = found.next;
                if before.is_none() {
                    return Ok(sent);
                }
            }
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Whether a new account can have a name.
    ///
    /// # Errors
    /// [`AdministrationError`], which says why not.
    pub async fn check_username(
        &self,
        by: &Administrator,
        username: &str,
    ) -> Result<(), AdministrationError> {
        by.must(Right::CreatePerson)?;
        let checked = self.accounts.check_username(username).await;
        checked.map_err(|error| AdministrationError::Register(error.into()))
    }
}

/// A person as lists show them; none if the account is gone.
pub(crate) fn whole(view: &Snapshot, user: UserSerial) -> Result<Option<Person>, StoreError> {
    let user_id = model::user_id(view, user)?;
    let user_id = user_id.and_then(|id| OwnedUserId::try_from(id).ok());
    let summary = match user_id {
        Some(user_id) => accounts::account_summary(view, &user_id)?,
        None => None,
    };
    summary.map(|found| of_summary(view, found)).transpose()
}

pub(crate) fn of_summary(view: &Snapshot, summary: AccountSummary) -> Result<Person, StoreError> {
    let (_, avatar_url) = display_name_and_avatar(view, summary.user)?;
    let standing = accounts::standing(view, summary.user)?;
    let about = accounts::person(view, summary.user)?;
    Ok(Person {
        avatar_url,
        is_guest: standing.is_guest,
        is_suspended: standing.is_suspended,
        about,
        summary,
    })
}

fn account_data(view: &Snapshot, user: UserSerial) -> Result<Value, StoreError> {
    let (mut global, mut rooms) = (Map::new(), Map::new());
    for row in view.scan(&ACCOUNT_DATA_BY_USER, &(user,)) {
        let ((_, room, event_type), _) = row?;
        let place = (room != RoomSerial(0)).then_some(room);
        let Some(entry) = accounts::account_data(view, user, place, &event_type)? else {
            continue;
        };
        let content: Value = serde_json::from_slice(&entry.json).unwrap_or(Value::Null);
        match place {
            None => {
                global.insert(event_type, content);
            }
            Some(room) => {
                let room_id = model::room_id(view, room)?.unwrap_or_default();
                rooms.entry(room_id).or_insert_with(|| json!({}))[event_type.as_str()] = content;
            }
        }
    }
    Ok(json!({ "global": global, "rooms": rooms }))
}
