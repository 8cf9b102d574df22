//! The list of people as Synapse's tools page through it: in an order of their own, from a number
//! on, with how many there are in all. What decides is read of the lists' rows; only those of the
//! page are read wholly.

use std::collections::HashMap;

use accounts::{ListedPerson, count_people, listed_people, people_named};
use model::{PeopleList, PersonKind, Role, UserSerial, tables::LAST_SEEN_BY_USER};
use store::{Read as _, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Person, Right, people::whole};

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

/// A part of the list of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeoplePage {
    /// The people.
    pub people: Vec<Person>,
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
                if query.is_counted_by_list() && wanted.is_full(query.limit) {
                    break;
                }
                wanted.take(listed?, query, own);
            }
        }
    }
    let (users, mut total) = wanted.in_order(view, query)?;
    if query.is_counted_by_list() {
        total = counted(view, query)?;
    }
    let mut people = Vec::new();
    for user in users {
        people.extend(whole(view, user)?);
    }
    Ok(PeoplePage { people, total })
}

/// How many there are of a query that its list answers: by the keys of the list alone.
fn counted(view: &Snapshot, query: &PeopleQuery) -> Result<usize, StoreError> {
    let list = query.list();
    let mut total = count_people(view, list)?;
    if query.without_locked {
        for listed in listed_people(view, PeopleList::Restrained, None) {
            let known = listed?.known;
            let is_left_out = known.is_locked && known.is_in(list);
            total = total.saturating_sub(usize::from(is_left_out));
        }
    }
    Ok(total)
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

    /// Whether the page has all of its rows.
    fn is_full(&self, limit: usize) -> bool {
        match self {
            Self::Ordered(users, _) => users.len() >= limit,
            Self::All(_) => false,
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

    /// Whether all of the list are wanted, but perhaps for those whose account is locked.
    fn is_counted_by_list(&self) -> bool {
        self.name.is_none()
            && self.user_id.is_none()
            && self.administers.is_none()
            && self.kind.is_none()
            && !self.without_guests
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
