//! The accounts in lists for administrators: by name in each list that has them, and by every part of their names. A page reads the rows that it shows, a
//! search those that its text fits.
//!
//! The rows of somebody are written in the commit that changes what they say.

use std::collections::BTreeSet;

use model::{
    AccountRecord, ListedPersonRecord, NamePart, PeopleList, PersonKind, SortedName,
    StandingRecord, UserSerial, name_parts,
    tables::{PERSON_BY_LIST, PERSON_BY_PART},
    with_part,
};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    account, display_name_and_avatar, person::person, standing, user_directory::localpart,
};

/// Somebody in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPerson {
    /// The user.
    pub user: UserSerial,
    /// The name before the colon.
    pub localpart: String,
    /// What lists know.
    pub known: ListedPersonRecord,
}

impl ListedPerson {
    /// Whether a text, in lower case, stands in the name before the colon or in the one that somebody goes by.
    pub fn has(&self, text: &str) -> bool {
        let name = self.known.display_name.as_deref().unwrap_or_default();
        self.localpart.to_lowercase().contains(text) || name.to_lowercase().contains(text)
    }

    fn of(
        ((_, name, user), known): ((PeopleList, SortedName, UserSerial), ListedPersonRecord),
    ) -> Self {
        Self {
            user,
            localpart: name.as_str().to_owned(),
            known,
        }
    }
}

/// The people of a list by name, from the one behind `after` on.
///
/// # Errors
/// If the database fails.
pub fn listed_people(
    view: &impl Read,
    list: PeopleList,
    after: Option<&ListedPerson>,
) -> impl Iterator<Item = Result<ListedPerson, StoreError>> {
    let (name, from) = match after {
        Some(after) => (
            SortedName::new(&after.localpart),
            UserSerial(after.user.0.saturating_add(1)),
        ),
        None => Default::default(),
    };
    let rows = view.scan_from(&PERSON_BY_LIST, &(list,), &(list, name, from));
    rows.map(|row| row.map(ListedPerson::of))
}

/// What lists know of somebody; none of those who have no account here.
///
/// # Errors
/// If the database fails.
pub fn listed_person(
    view: &impl Read,
    user: UserSerial,
) -> Result<Option<ListedPerson>, StoreError> {
    let user_id = model::user_id(view, user)?.unwrap_or_default();
    let localpart = localpart(&user_id).to_owned();
    let key = (PeopleList::Everybody, SortedName::new(&localpart), user);
    let known = view.get(&PERSON_BY_LIST, &key)?;
    Ok(known.map(|known| ListedPerson {
        user,
        localpart,
        known,
    }))
}

/// Those who have a text in their names, by name; none if it fits so many that the lists are to be looked through.
///
/// # Errors
/// If the database fails.
pub fn people_named(view: &impl Read, text: &str) -> Result<Option<Vec<ListedPerson>>, StoreError> {
    let text = text.to_lowercase();
    let Some(users) = with_part(view, &PERSON_BY_PART, &text)? else {
        return Ok(None);
    };
    let mut people = Vec::new();
    for user in users {
        people.extend(listed_person(view, user)?.filter(|listed| listed.has(&text)));
    }
    people.sort_by(|one, other| (&one.localpart, one.user).cmp(&(&other.localpart, other.user)));
    Ok(Some(people))
}

/// How many people a list has.
///
/// # Errors
/// If the database fails.
pub fn count_people(view: &impl Read, list: PeopleList) -> Result<usize, StoreError> {
    view.count(&PERSON_BY_LIST, &(list,))
}

/// What lists are to know of somebody, as it stands in the other tables.
pub(crate) fn to_be_listed(
    view: &impl Read,
    user: UserSerial,
) -> Result<Option<ListedPersonRecord>, StoreError> {
    let Some(account) = account(view, user)? else {
        return Ok(None);
    };
    let (display_name, _) = display_name_and_avatar(view, user)?;
    let standing = standing(view, user)?;
    let kind = person(view, user)?.kind;
    Ok(Some(new(&account, &standing, kind, display_name)))
}

/// What lists know of an account that is made.
pub(crate) fn new(
    account: &AccountRecord,
    standing: &StandingRecord,
    kind: PersonKind,
    display_name: Option<String>,
) -> ListedPersonRecord {
    let mut known = ListedPersonRecord {
        display_name,
        kind,
        is_guest: standing.is_guest,
        is_suspended: standing.is_suspended,
        ..ListedPersonRecord::default()
    };
    note_account(&mut known, account);
    known
}

/// The account is another one.
pub(crate) fn note_account(known: &mut ListedPersonRecord, account: &AccountRecord) {
    known.created_at = account.created_at;
    known.roles = account.roles;
    known.is_locked = account.is_locked;
    known.is_closed = account.deactivated_at.is_some();
}

/// Lists somebody as `change` makes it, in the commit that does. Once for each person in a commit.
pub(crate) fn relist(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    change: impl FnOnce(&mut ListedPersonRecord),
) -> Result<(), StoreError> {
    let Some(mut known) = to_be_listed(latest, user)? else {
        return Ok(());
    };
    change(&mut known);
    let user_id = model::user_id(latest, user)?.unwrap_or_default();
    list(latest, batch, (user, &user_id), &known)
}

/// Lists somebody as they are from now on. Once for each person in a commit.
pub(crate) fn list(
    latest: &Latest,
    batch: &mut Batch,
    (user, user_id): (UserSerial, &str),
    known: &ListedPersonRecord,
) -> Result<(), StoreError> {
    let localpart = localpart(user_id);
    let name = SortedName::new(localpart);
    let everybody = (PeopleList::Everybody, name.clone(), user);
    let before = latest.get(&PERSON_BY_LIST, &everybody)?;
    if before.as_ref() == Some(known) {
        return Ok(());
    }
    for list in PeopleList::ALL {
        let key = (*list, name.clone(), user);
        if known.is_in(*list) {
            batch.put(&PERSON_BY_LIST, &key, known);
        } else if before.as_ref().is_some_and(|before| before.is_in(*list)) {
            batch.delete(&PERSON_BY_LIST, &key);
        }
    }
    let before = before.map(|before| parts_of(localpart, &before));
    let (before, after) = (before.unwrap_or_default(), parts_of(localpart, known));
    for part in before.difference(&after) {
        batch.delete(&PERSON_BY_PART, &(*part, user));
    }
    for part in after.difference(&before) {
        batch.put(&PERSON_BY_PART, &(*part, user), &());
    }
    Ok(())
}

pub(crate) fn parts_of(localpart: &str, known: &ListedPersonRecord) -> BTreeSet<NamePart> {
    let mut parts = name_parts(localpart);
    parts.extend(name_parts(
        known.display_name.as_deref().unwrap_or_default(),
    ));
    parts
}
