//! People as administrators list and look at them, and what is done to their devices.

use std::collections::HashMap;

use accounts::{
    AccountSummary, Device, ListedPerson, OwnEmail, Pusher, devices, display_name_and_avatar,
    listed_people, people_named,
};
use audit::Verb;
use model::{
    Membership, PeopleList, PersonKind, PersonRecord, Role, RoomSerial, UserSerial,
    tables::{ACCOUNT_DATA_BY_USER, LAST_SEEN_BY_USER, MEMBERSHIP_BY_USER, STAY_BY_ROOM},
};
use rooms::RoomCalled;
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
    /// By when they used a device last, be it gone since.
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

/// Rooms that somebody is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonRooms {
    /// Some of them.
    pub rooms: Vec<RoomCalled>,
    /// How many there are in all.
    pub total: usize,
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
        let own = format!(":{}", self.accounts.server_name());
        let read = move |view: &Snapshot| page(view, &query, &own);
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

/// Looks through what lists know of people; only those of the page are read wholly.
fn page(view: &Snapshot, query: &PeopleQuery, own: &str) -> Result<PeoplePage, StoreError> {
    let text = query.name.as_ref().or(query.user_id.as_ref());
    let named = match text.and_then(|text| searched(text, query.name.is_none(), own)) {
        Some(text) => people_named(view, text)?,
        None => None,
    };
    let mut wanted = Window::of(query);
    match named {
        Some(people) => {
            for listed in people {
                wanted.take(listed, query, own);
            }
        }
        None => {
            for listed in listed_people(view, query.list(), None) {
                wanted.take(listed?, query, own);
            }
        }
    }
    let (users, total) = wanted.in_order(view, query)?;
    let mut people = Vec::new();
    for user in users {
        people.extend(whole(view, user)?);
    }
    Ok(PeoplePage { people, total })
}

/// What is looked up to find a text in names; none if it stands in the ids of all people.
fn searched<'a>(text: &'a str, is_id: bool, own: &str) -> Option<&'a str> {
    if !is_id {
        return Some(text.trim_start_matches('@'));
    }
    if own.contains(&text.to_lowercase()) {
        return None;
    }
    let text = text.strip_prefix('@').unwrap_or(text);
    Some(text.split(':').next().unwrap_or_default())
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

/// The part of a list that is wanted.
enum Window {
    /// In the order of the list: those of the page, and how many were seen.
    Ordered(Vec<UserSerial>, usize),
    /// All, as another order is wanted.
    All(Vec<ListedPerson>),
}

impl Window {
    fn of(query: &PeopleQuery) -> Self {
        match query.order == PeopleOrder::Name && !query.backwards {
            true => Self::Ordered(Vec::new(), 0),
            false => Self::All(Vec::new()),
        }
    }

    fn take(&mut self, listed: ListedPerson, query: &PeopleQuery, own: &str) {
        if !query.wants(&listed, own) {
            return;
        }
        match self {
            Self::Ordered(users, seen) => {
                if *seen >= query.from && users.len() < query.limit {
                    users.push(listed.user);
                }
                *seen += 1;
            }
            Self::All(people) => people.push(listed),
        }
    }

    /// Those of the page, and how many there are in all.
    fn in_order(
        self,
        view: &Snapshot,
        query: &PeopleQuery,
    ) -> Result<(Vec<UserSerial>, usize), StoreError> {
        let mut people = match self {
            Self::Ordered(users, seen) => return Ok((users, seen)),
            Self::All(people) => people,
        };
        let seen = match query.order {
            PeopleOrder::LastSeen => last_seen(view)?,
            _ => HashMap::new(),
        };
        let number = |listed: &ListedPerson| match query.order {
            PeopleOrder::Name | PeopleOrder::DisplayName => 0,
            PeopleOrder::Created => listed.known.created_at,
            PeopleOrder::Administrator => u64::from(listed.known.roles.has(Role::Administrator)),
            PeopleOrder::Deactivated => u64::from(listed.known.is_closed),
            PeopleOrder::LastSeen => seen.get(&listed.user).copied().unwrap_or_default(),
        };
        let name = |listed: &ListedPerson| match query.order {
            PeopleOrder::DisplayName => listed.known.display_name.clone(),
            _ => None,
        };
        people
            .sort_by_cached_key(|listed| (name(listed), number(listed), listed.localpart.clone()));
        if query.backwards {
            people.reverse();
        }
        let users = people.iter().skip(query.from).take(query.limit);
        Ok((users.map(|listed| listed.user).collect(), people.len()))
    }
}

impl PeopleQuery {
    /// The shortest list that has all who are wanted.
    fn list(&self) -> PeopleList {
        match (self.administers, self.deactivated) {
            (Some(true), _) => PeopleList::WithRole,
            (_, Some(true)) => PeopleList::Closed,
            (_, Some(false)) => PeopleList::Open,
            (_, None) => PeopleList::Everybody,
        }
    }

    fn wants(&self, listed: &ListedPerson, own: &str) -> bool {
        let known = &listed.known;
        let is = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        is(self.deactivated, known.is_closed)
            && is(self.administers, known.roles.has(Role::Administrator))
            && !(self.without_locked && known.is_locked)
            && !(self.without_guests && known.is_guest)
            && self.kind.is_none_or(|kind| kind == known.kind)
            && self.fits(listed, own)
    }

    fn fits(&self, listed: &ListedPerson, own: &str) -> bool {
        match (&self.name, &self.user_id) {
            (Some(part), _) => listed.has(&part.trim_start_matches('@').to_lowercase()),
            (None, Some(part)) => {
                let user_id = format!("@{}{own}", listed.localpart);
                user_id.to_lowercase().contains(&part.to_lowercase())
            }
            (None, None) => true,
        }
    }
}

fn last_seen(view: &Snapshot) -> Result<HashMap<UserSerial, u64>, StoreError> {
    view.scan(&LAST_SEEN_BY_USER, &()).collect()
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
