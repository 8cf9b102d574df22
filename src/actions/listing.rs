//! Lists for the pages of the console: each page reads its own rows and no others.

use model::{RoomSerial, UserSerial, tables};
use rooms::{ListedMember, ListedRoom, members_after, rooms_after, servers_after};
use ruma_common::OwnedUserId;
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    Actions, AdministrationError, Administrator, Person, Report, Right, people::of_summary,
    reports::described,
};

/// How many ids are looked at for one page of a search.
const MOST_LOOKED_AT: usize = 1_000_000;

/// Which people are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// All.
    #[default]
    Everybody,
    /// Those whose account is open.
    Open,
    /// Those who have a role.
    WithRole,
    /// Those whose account is locked or suspended.
    Restrained,
    /// Those whose account is closed.
    Closed,
}

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
        (text, which): (Option<String>, Which),
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<Person>, AdministrationError> {
        by.must(Right::ListPeople)?;
        let own = format!(":{}", self.accounts.server_name());
        let text = text.map(|text| text.to_lowercase());
        let read = move |view: &Snapshot| people(view, &own, text.as_deref(), which, after, limit);
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
            let mut totals = Totals::default();
            if people {
                let mut count = 0;
                for row in view.scan(&tables::ACCOUNT_BY_USER, &()) {
                    count += u64::from(row?.1.deactivated_at.is_none());
                }
                totals.people = Some(count);
            }
            if rooms {
                let mut count = 0;
                for row in view.scan(&tables::HEAD_BY_ROOM, &()) {
                    count += u64::from(row?.1.joined_here > 0);
                }
                totals.rooms = Some(count);
            }
            if reports {
                let mut count = 0;
                for row in view.scan(&tables::REPORT_BY_POSITION, &()) {
                    row?;
                    count += 1;
                }
                totals.reports = Some(count);
            }
            Ok(totals)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}

fn people(
    view: &Snapshot,
    own: &str,
    text: Option<&str>,
    which: Which,
    after: Option<String>,
    limit: usize,
) -> Result<Listed<Person>, StoreError> {
    let mut found = Listed {
        rows: Vec::new(),
        next: None,
    };
    let from = after.clone().unwrap_or_default();
    let rows = view.scan_from(&tables::USER_BY_ID, &(), &from);
    for row in rows.take(MOST_LOOKED_AT) {
        let (user_id, user) = row?;
        let Some(localpart) = user_id.strip_suffix(own) else {
            continue;
        };
        if after.as_ref() == Some(&user_id) {
            continue;
        }
        let Some(account) = view.get(&tables::ACCOUNT_BY_USER, &user)? else {
            continue;
        };
        let is_closed = account.deactivated_at.is_some();
        let is_wanted = match which {
            Which::Everybody => true,
            Which::Open => !is_closed,
            Which::WithRole => !account.roles.is_empty(),
            Which::Closed => is_closed,
            Which::Restrained => account.is_locked || accounts::standing(view, user)?.is_suspended,
        };
        if !is_wanted || !is_named(view, user, localpart, text)? {
            continue;
        }
        if found.rows.len() == limit {
            let last = found.rows.last();
            found.next = last.map(|last: &Person| last.summary.user_id.to_string());
            return Ok(found);
        }
        let Ok(user_id) = OwnedUserId::try_from(user_id) else {
            continue;
        };
        if let Some(summary) = accounts::account_summary(view, &user_id)? {
            found.rows.push(of_summary(view, summary)?);
        }
    }
    Ok(found)
}

fn is_named(
    view: &Snapshot,
    user: UserSerial,
    localpart: &str,
    text: Option<&str>,
) -> Result<bool, StoreError> {
    let Some(text) = text else { return Ok(true) };
    let text = text.trim_start_matches('@');
    if localpart.contains(text) {
        return Ok(true);
    }
    let (name, _) = accounts::display_name_and_avatar(view, user)?;
    Ok(name.is_some_and(|name| name.to_lowercase().contains(text)))
}
