//! What a line of a table makes of a person, if it can be. Nothing is written here.

use std::collections::{BTreeSet, HashSet};

use model::{
    PersonRecord, UserSerial,
    tables::{ACCOUNT_BY_USER, DEPARTMENT_BY_NAME, PROFILE_FIELD_BY_USER, USER_BY_ID},
};
use ruma_common::OwnedUserId;
use store::{Read, StoreError};

use crate::{
    Cell, ImportedRow, RowOutcome, canonical_email, department_key, departments, emails,
    person::{MAX_ORGANISATION_BYTES, person},
    profiles::{self, DISPLAY_NAME},
    standing,
};

/// The longest name of a language, in bytes.
const MAX_LANGUAGE_BYTES: usize = 35;

/// What stands in the way of one line.
pub(crate) enum RowError {
    Bad(String),
    Store(StoreError),
}

impl From<StoreError> for RowError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(crate) fn bad(text: impl Into<String>) -> RowError {
    RowError::Bad(text.into())
}

/// A line that can be done, with all that is drawn for it.
pub(crate) struct Draft {
    pub(crate) user_id: OwnedUserId,
    pub(crate) candidate: u64,
    pub(crate) push_rules: Vec<u8>,
    pub(crate) default_end: Option<u64>,
}

/// What a line makes of a person.
pub(crate) struct Planned {
    /// None if there is no account yet.
    pub(crate) user: Option<UserSerial>,
    pub(crate) changed: Vec<&'static str>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) email: Option<String>,
    pub(crate) departments: BTreeSet<String>,
    pub(crate) before: PersonRecord,
    pub(crate) after: PersonRecord,
}

impl Planned {
    pub(crate) fn outcome(&self) -> RowOutcome {
        match (self.user, self.changed.is_empty()) {
            (None, _) => RowOutcome::Created,
            (Some(_), true) => RowOutcome::Unchanged,
            (Some(_), false) => {
                RowOutcome::Changed(self.changed.iter().map(|&name| name.to_owned()).collect())
            }
        }
    }

    pub(crate) fn display_name(&self) -> Option<String> {
        let json = self.name.as_deref()?;
        serde_json::from_slice(json).ok()
    }

    pub(crate) fn changes(&self, thing: &str) -> bool {
        self.user.is_none() || self.changed.contains(&thing)
    }
}

/// What other lines of the same commit name, which do not see each other's rows.
#[derive(Default)]
pub(crate) struct Seen {
    names: HashSet<String>,
    emails: HashSet<String>,
}

impl Seen {
    pub(crate) fn check(&mut self, row: &ImportedRow) -> Result<(), RowError> {
        if !self.names.insert(row.localpart.trim().to_lowercase()) {
            return Err(bad("this person stands in an earlier line too"));
        }
        if let Cell::Set(email) = &row.email
            && let Some(email) = canonical_email(email)
            && !self.emails.insert(email)
        {
            return Err(bad("this e-mail address stands in an earlier line too"));
        }
        Ok(())
    }
}

/// What a line makes of a person, if it can be.
pub(crate) fn plan(
    view: &impl Read,
    row: &ImportedRow,
    draft: &Draft,
    reaches_roles: bool,
    now: u64,
) -> Result<Planned, RowError> {
    let user = account_of(view, &draft.user_id, reaches_roles)?;
    let before = match user {
        Some(user) => person(view, user)?,
        None => PersonRecord {
            expires_at: draft.default_end,
            is_renewable: draft.default_end.is_some(),
            ..PersonRecord::default()
        },
    };
    let after = planned_person(row, &before, user.is_none(), now)?;
    let mut changed = Vec::new();
    let name = planned_name(view, row, user, &mut changed)?;
    let email = planned_email(view, row, user, &mut changed)?;
    let departments = planned_departments(view, row, user, &mut changed)?;
    for (thing, differs) in [
        ("kind", before.kind != after.kind),
        ("organisation", before.organisation != after.organisation),
        ("expires", before.expires_at != after.expires_at),
        ("language", before.language != after.language),
    ] {
        if differs {
            changed.push(thing);
        }
    }
    Ok(Planned {
        user,
        changed,
        name,
        email,
        departments,
        before: match user {
            Some(_) => before,
            None => PersonRecord::default(),
        },
        after,
    })
}

/// The account of that id, if there is one that may be changed.
fn account_of(
    view: &impl Read,
    user_id: &OwnedUserId,
    reaches_roles: bool,
) -> Result<Option<UserSerial>, RowError> {
    let Some(user) = view.get(&USER_BY_ID, &user_id.to_string())? else {
        return Ok(None);
    };
    let Some(account) = view.get(&ACCOUNT_BY_USER, &user)? else {
        return Ok(None);
    };
    if account.deactivated_at.is_some() {
        return Err(bad("this account was closed for ever"));
    }
    if !account.roles.is_empty() && !reaches_roles {
        return Err(bad(
            "only administrators can change somebody who has a role on this server",
        ));
    }
    if standing(view, user)?.is_guest {
        return Err(bad("this is a guest"));
    }
    Ok(Some(user))
}

fn planned_person(
    row: &ImportedRow,
    before: &PersonRecord,
    is_new: bool,
    now: u64,
) -> Result<PersonRecord, RowError> {
    if let Cell::Set(name) = &row.organisation
        && (name.len() > MAX_ORGANISATION_BYTES || name.chars().any(char::is_control))
    {
        return Err(bad(
            "the organisation's name is too long, or has what is not seen",
        ));
    }
    if let Cell::Set(language) = &row.language {
        let is_one = (2..=MAX_LANGUAGE_BYTES).contains(&language.len())
            && language
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_one {
            return Err(bad(format!(
                "{language:?} is no language: write en or pt-BR"
            )));
        }
    }
    let expires_at = row.expires_at.after(before.expires_at);
    if is_new && expires_at.is_some_and(|end| end <= now) {
        return Err(bad("the account would have ended already"));
    }
    let is_renewable = match row.expires_at {
        Cell::Keep => before.is_renewable,
        // Whoever names a day means that day.
        Cell::Set(end) => before.is_renewable && before.expires_at == Some(end),
        Cell::Clear => false,
    };
    Ok(PersonRecord {
        kind: row.kind.unwrap_or(before.kind),
        organisation: row.organisation.after(before.organisation.clone()),
        language: row.language.after(before.language.clone()),
        expires_at,
        is_renewable,
        ..before.clone()
    })
}

/// The name's JSON, if there is one then.
fn planned_name(
    view: &impl Read,
    row: &ImportedRow,
    user: Option<UserSerial>,
    changed: &mut Vec<&'static str>,
) -> Result<Option<Vec<u8>>, RowError> {
    let before = match user {
        Some(user) => view.get(&PROFILE_FIELD_BY_USER, &(user, DISPLAY_NAME.to_owned()))?,
        None => None,
    };
    let after = match &row.display_name {
        Cell::Keep => before.clone(),
        Cell::Clear => None,
        Cell::Set(name) => {
            profiles::new_display_name(name).map_err(|error| bad(error.to_string()))?
        }
    };
    if before != after {
        changed.push("display_name");
    }
    Ok(after)
}

/// The one address, if the line names one or has it taken away.
fn planned_email(
    view: &impl Read,
    row: &ImportedRow,
    user: Option<UserSerial>,
    changed: &mut Vec<&'static str>,
) -> Result<Option<String>, RowError> {
    let known = match user {
        Some(user) => emails(view, user)?,
        None => Vec::new(),
    };
    match &row.email {
        Cell::Keep => Ok(None),
        Cell::Clear => {
            if !known.is_empty() {
                changed.push("email");
            }
            Ok(None)
        }
        Cell::Set(typed) => {
            let email = canonical_email(typed)
                .ok_or_else(|| bad(format!("{typed:?} is no e-mail address")))?;
            if known.iter().any(|known| known.address == email) {
                return Ok(Some(email));
            }
            if crate::emails::owner(view, &email)?.is_some() {
                return Err(bad(format!(
                    "the e-mail address {email} is another account's"
                )));
            }
            changed.push("email");
            Ok(Some(email))
        }
    }
}

fn planned_departments(
    view: &impl Read,
    row: &ImportedRow,
    user: Option<UserSerial>,
    changed: &mut Vec<&'static str>,
) -> Result<BTreeSet<String>, RowError> {
    let before = match user {
        Some(user) => departments::keys_of(view, user)?,
        None => BTreeSet::new(),
    };
    let after = match &row.departments {
        Cell::Keep => before.clone(),
        Cell::Clear => BTreeSet::new(),
        Cell::Set(names) => {
            let mut keys = BTreeSet::new();
            for name in names {
                let key = department_key(name);
                let key = key.ok_or_else(|| bad(format!("{name:?} is no department's name")))?;
                if !view.contains(&DEPARTMENT_BY_NAME, &key)? {
                    return Err(bad(format!(
                        "there is no department {name:?}: make it first (cairn department create)"
                    )));
                }
                keys.insert(key);
            }
            keys
        }
    };
    if after.len() > departments::MAX_OF_PERSON {
        return Err(bad("a person has at most 50 departments"));
    }
    if before != after {
        changed.push("departments");
    }
    Ok(after)
}
