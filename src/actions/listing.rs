//! Lists for the pages of the console: each page reads its own rows and no others.

use accounts::ListedPerson;
use model::{PeopleList, RoomSerial, RoomsList, UserSerial, tables};
use rooms::{ListedMember, ListedRoom, members_after, rooms_after, servers_after};
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    Actions, AdministrationError, Administrator, Person, Report, Right, people::whole,
    reports::described,
};

/// How many rows of a list are looked at for one page of a search.
const MOST_LOOKED_AT: usize = 20_000;

/// A page of a list, and after which it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The name of the last one, if there are more.
    pub next: Option<String>,
}

/// How many there are of what somebody may list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Open accounts.
    pub people: Option<u64>,
    /// Rooms in which somebody of this server is.
    pub rooms: Option<u64>,
    /// Reports.
    pub reports: Option<u64>,
}

impl Actions {
    /// People by their ids, from the one behind `after` on, at most `limit`; of a search those
    /// whose id or name has the text.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn people_after(
        &self,
        by: &Administrator,
        (text, list): (Option<String>, PeopleList),
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<Person>, AdministrationError> {
        by.must(Right::ListPeople)?;
        let text = text.map(|text| text.trim_start_matches('@').to_lowercase());
        let read =
            move |view: &Snapshot| people(view, text.as_deref(), list, after.as_deref(), limit);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Rooms, the newest first, from the one behind the id `after` on, at most `limit`; of a
    /// search those whose name, main alias or id has the text.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rooms_after(
        &self,
        by: &Administrator,
        text: Option<String>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<ListedRoom>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let read = move |view: &Snapshot| -> Result<Listed<ListedRoom>, StoreError> {
            let after = match after {
                Some(after) => rooms::room_serial(view, &after)?,
                None => None,
            };
            let (rows, next) = rooms_after(view, text.as_deref(), after, limit)?;
            let next = next.map(|room: RoomSerial| model::room_id(view, room));
            Ok(Listed {
                rows,
                next: next.transpose()?.flatten(),
            })
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Those who are in a room, from the one behind `after` on, at most `limit`.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn members_after(
        &self,
        by: &Administrator,
        room: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<ListedMember>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let (unknown, room) = (room.to_owned(), room.to_owned());
        let read = move |view: &Snapshot| -> Result<Option<Listed<ListedMember>>, StoreError> {
            let Some(room) = rooms::room_serial(view, &room)? else {
                return Ok(None);
            };
            let after = match after {
                Some(after) => rooms::user_serial(view, &after)?,
                None => None,
            };
            let (rows, next) = members_after(view, room, after, limit)?;
            let next = next.map(|user: UserSerial| model::user_id(view, user));
            Ok(Some(Listed {
                rows,
                next: next.transpose()?.flatten(),
            }))
        };
        let found: Option<Listed<ListedMember>> = self.rooms.store().read_long(read).await?;
        found.ok_or(AdministrationError::UnknownRoom(unknown))
    }

    /// What people have reported, the newest first, from the one before the number `before` on.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn reports_before(
        &self,
        by: &Administrator,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Report>, AdministrationError> {
        by.must(Right::ListReports)?;
        let read = move |view: &Snapshot| -> Result<Vec<Report>, StoreError> {
            let from = before.map(Position);
            let rows = view.scan_back(&tables::REPORT_BY_POSITION, &(), from.as_ref());
            let mut found = Vec::new();
            for row in rows.take(limit) {
                let (position, record) = row?;
                found.push(described(view, position, &record, false)?);
            }
            Ok(found)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Other servers with which people of this one are in rooms, by name, each with how many.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn servers_after(
        &self,
        by: &Administrator,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, AdministrationError> {
        by.must(Right::ShowFederation)?;
        let read = move |view: &Snapshot| servers_after(view, after.as_deref(), limit);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// How many other servers do not answer.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn silent_servers(&self, by: &Administrator) -> Result<usize, AdministrationError> {
        by.must(Right::ShowFederation)?;
        Ok(self.peers.status().await?.failing.len())
    }

    /// How many there are of what somebody may list.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn totals(&self, by: &Administrator) -> Result<Totals, AdministrationError> {
        let may = |right| by.may(right);
        let (people, rooms, reports) = (
            may(Right::ListPeople),
            may(Right::ListRooms),
            may(Right::ListReports),
        );
        let read = move |view: &Snapshot| -> Result<Totals, StoreError> {
            let count = |is_wanted: bool, count: &dyn Fn() -> Result<usize, StoreError>| {
                let counted = is_wanted.then(count).transpose()?;
                Ok::<_, StoreError>(counted.map(|count| count as u64))
            };
            Ok(Totals {
                people: count(people, &|| accounts::count_people(view, PeopleList::Open))?,
                rooms: count(rooms, &|| rooms::count_rooms(view, RoomsList::Inhabited))?,
                reports: count(reports, &|| view.count(&tables::REPORT_BY_POSITION, &()))?,
            })
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}

/// The people of a list, of a search those whom a text, in lower case, fits.
fn people(
    view: &Snapshot,
    text: Option<&str>,
    list: PeopleList,
    after: Option<&str>,
    limit: usize,
) -> Result<Listed<Person>, StoreError> {
    let after = match after {
        Some(user_id) => rooms::user_serial(view, user_id)?,
        None => None,
    };
    let after = match after {
        Some(user) => accounts::listed_person(view, user)?,
        None => None,
    };
    let named = match text {
        Some(text) => accounts::people_named(view, text)?,
        None => None,
    };
    let mut page = Gathered::of(limit);
    match named {
        Some(people) => {
            let place = |one: &ListedPerson| (one.localpart.clone(), one.user);
            let after = after.as_ref().map(place);
            for listed in people {
                let is_after = after.as_ref().is_none_or(|after| place(&listed) > *after);
                if is_after && listed.known.is_in(list) && page.is_full_with(view, &listed)? {
                    break;
                }
            }
        }
        None => {
            let rows = accounts::listed_people(view, list, after.as_ref());
            for (looked_at, row) in rows.enumerate() {
                let listed = row?;
                let fits = text.is_none_or(|text| listed.has(text));
                if looked_at == MOST_LOOKED_AT {
                    page.goes_on();
                    break;
                }
                if fits && page.is_full_with(view, &listed)? {
                    break;
                }
                page.last = Some(listed.user);
            }
        }
    }
    page.listed(view)
}

/// A page of people that is gathered.
struct Gathered {
    rows: Vec<Person>,
    limit: usize,
    /// The last that was looked at.
    last: Option<UserSerial>,
    /// Whether there are more behind it.
    is_more: bool,
}

impl Gathered {
    fn of(limit: usize) -> Self {
        Self {
            rows: Vec::new(),
            limit,
            last: None,
            is_more: false,
        }
    }

    fn goes_on(&mut self) {
        self.is_more = true;
    }

    /// Adds somebody, or notes that there are more than the page holds, and says so.
    fn is_full_with(&mut self, view: &Snapshot, listed: &ListedPerson) -> Result<bool, StoreError> {
        if self.rows.len() == self.limit {
            self.goes_on();
            return Ok(true);
        }
        self.rows.extend(whole(view, listed.user)?);
        self.last = Some(listed.user);
        Ok(false)
    }

    fn listed(self, view: &Snapshot) -> Result<Listed<Person>, StoreError> {
        let last = self.last.filter(|_| self.is_more);
        let next = last.map(|user| model::user_id(view, user)).transpose()?;
        Ok(Listed {
            rows: self.rows,
            next: next.flatten(),
        })
    }
}
