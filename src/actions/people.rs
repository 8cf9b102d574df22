//! People as administrators list and look at them, and what is done to their devices.

use accounts::{AccountSummary, Device, OwnEmail, Pusher, devices, display_name_and_avatar};
use audit::Verb;
use model::{
    Membership, PersonKind, PersonRecord, RoomSerial, UserSerial,
    tables::{ACCOUNT_BY_USER, ACCOUNT_DATA_BY_USER, MEMBERSHIP_BY_USER, STAY_BY_ROOM},
};
use ruma_common::{OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Map, Value, json};
use store::{Read, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// How a list of people is ordered; by name where that decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeopleOrder {
    /// By user id.
    #[default]
    Name,
    /// By the name that they go by.
    DisplayName,
    /// By when the account was made.
    Created,
    /// By when one of their devices was used last.
    LastSeen,
    /// Those who administer last.
    Administrator,
    /// Those whose account is closed last.
    Deactivated,
}

/// Which people are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleQuery {
    /// What must stand in the name before the colon, or in the name that they go by.
    pub name: Option<String>,
    /// What must stand in the user id; not looked at where `name` is given.
    pub user_id: Option<String>,
    /// Whether guests are left out.
    pub without_guests: bool,
    /// Only those who administer, or only those who do not.
    pub administers: Option<bool>,
    /// Only those whose account is closed, or only those whose account is not.
    pub deactivated: Option<bool>,
    /// Only those of this kind.
    pub kind: Option<PersonKind>,
    /// Whether those are left out whose account is locked.
    pub without_locked: bool,
    /// In which order.
    pub order: PeopleOrder,
    /// Whether in the opposite order.
    pub backwards: bool,
    /// How many are passed over.
    pub from: usize,
    /// How many are wanted at most.
    pub limit: usize,
}

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

/// A part of the list of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeoplePage {
    /// The people.
    pub people: Vec<Person>,
    /// How many there are in all.
    pub total: usize,
}

/// What decides where somebody stands in the list.
struct Row {
    user_id: String,
    display_name: Option<String>,
    key: u64,
}

impl Actions {
    /// A part of the list of people.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn people(
        &self,
        by: &Administrator,
        query: PeopleQuery,
    ) -> Result<PeoplePage, AdministrationError> {
        by.must(Right::ListPeople)?;
        let read = move |view: &Snapshot| page(view, &query);
        Ok(self.rooms.store().read_long(read).await?)
    }

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

fn page(view: &Snapshot, query: &PeopleQuery) -> Result<PeoplePage, StoreError> {
    let mut rows = Vec::new();
    for row in view.scan(&ACCOUNT_BY_USER, &()) {
        let (user, account) = row?;
        let is_closed = account.deactivated_at.is_some();
        if query.deactivated.is_some_and(|wanted| wanted != is_closed)
            || query
                .administers
                .is_some_and(|wanted| wanted != account.is_admin())
            || (query.without_locked && account.is_locked)
            || (query.kind.is_some() && query.kind != Some(accounts::person(view, user)?.kind))
            || (query.without_guests && accounts::standing(view, user)?.is_guest)
        {
            continue;
        }
        let Some(user_id) = model::user_id(view, user)? else {
            continue;
        };
        let needs_name = query.name.is_some() || query.order == PeopleOrder::DisplayName;
        let display_name = match needs_name {
            true => display_name_and_avatar(view, user)?.0,
            false => None,
        };
        if !matches(query, &user_id, display_name.as_deref()) {
            continue;
        }
        let key = match query.order {
            PeopleOrder::Name | PeopleOrder::DisplayName => 0,
            PeopleOrder::Created => account.created_at,
            PeopleOrder::Administrator => u64::from(account.is_admin()),
            PeopleOrder::Deactivated => u64::from(is_closed),
            PeopleOrder::LastSeen => last_seen(view, user)?,
        };
        rows.push(Row {
            user_id,
            display_name,
            key,
        });
    }
    let display = query.order == PeopleOrder::DisplayName;
    rows.sort_by(|a, b| {
        let by_name = match display {
            true => a.display_name.cmp(&b.display_name),
            false => std::cmp::Ordering::Equal,
        };
        by_name
            .then(a.key.cmp(&b.key))
            .then(a.user_id.cmp(&b.user_id))
    });
    if query.backwards {
        rows.reverse();
    }
    let total = rows.len();
    let wanted = rows.into_iter().skip(query.from).take(query.limit);
    let mut people = Vec::new();
    for row in wanted {
        let user_id = OwnedUserId::try_from(row.user_id).ok();
        let found = match user_id {
            Some(user_id) => accounts::account_summary(view, &user_id)?,
            None => None,
        };
        if let Some(found) = found {
            people.push(of_summary(view, found)?);
        }
    }
    Ok(PeoplePage { people, total })
}

fn matches(query: &PeopleQuery, user_id: &str, display_name: Option<&str>) -> bool {
    let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    if let Some(part) = &query.name {
        let localpart = user_id.split(':').next().unwrap_or_default();
        return has(localpart, part) || display_name.is_some_and(|name| has(name, part));
    }
    query.user_id.as_ref().is_none_or(|part| has(user_id, part))
}

fn last_seen(view: &Snapshot, user: UserSerial) -> Result<u64, StoreError> {
    let seen = devices(view, user)?.into_iter();
    let seen = seen.filter_map(|device| device.last_seen);
    Ok(seen.map(|seen| seen.at).max().unwrap_or_default())
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
