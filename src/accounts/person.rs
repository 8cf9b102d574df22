//! What is known of a person beside the account: their kind, their organisation, their limits.

use audit::{Act, Verb};
use model::{
    Changes, LogEntry, PersonKind, PersonLimits, PersonRecord, UserSerial,
    tables::{PERSON_BY_USER, USER_BY_EXPIRY},
};
use serde_json::{Value, json};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, AdministrationError, administration::active, audited, departments, invitation_lists,
    people_lists,
};

/// The longest name of an organisation, in bytes.
pub(crate) const MAX_ORGANISATION_BYTES: usize = 255;

/// How fast one person may ask, where that is not as everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRate {
    /// Requests in each second; no limit at all if 0.
    pub per_second: Option<u64>,
    /// Requests at once.
    pub burst: Option<u64>,
}

impl OwnRate {
    /// That of a person; none if they ask as everybody.
    pub(crate) fn of(limits: &PersonLimits) -> Option<Self> {
        let rate = Self {
            per_second: limits.requests_per_second,
            burst: limits.burst,
        };
        (rate.per_second.is_some() || rate.burst.is_some()).then_some(rate)
    }
}

/// What is known of a person beside the account.
///
/// # Errors
/// If the database fails.
pub fn person(view: &impl Read, user: UserSerial) -> Result<PersonRecord, StoreError> {
    Ok(view.get(&PERSON_BY_USER, &user)?.unwrap_or_default())
}

/// Whether somebody is a partner: from outside, and let in here and there.
///
/// # Errors
/// If the database fails.
pub fn is_partner(view: &impl Read, user: UserSerial) -> Result<bool, StoreError> {
    Ok(person(view, user)?.kind == PersonKind::Partner)
}

/// Writes what is known of a person in place of `before`, with where it stands among the ends.
pub(crate) fn write(
    batch: &mut Batch,
    user: UserSerial,
    before: &PersonRecord,
    after: &PersonRecord,
) {
    if before.expires_at != after.expires_at {
        if let Some(end) = before.expires_at {
            batch.delete(&USER_BY_EXPIRY, &(end, user));
        }
        if let Some(end) = after.expires_at {
            batch.put(&USER_BY_EXPIRY, &(end, user), &());
        }
    }
    match *after == PersonRecord::default() {
        true => batch.delete(&PERSON_BY_USER, &user),
        false => batch.put(&PERSON_BY_USER, &user, after),
    }
}

/// Takes away what nobody needs of a person whose account is closed. Who they were and for whom
/// they worked stays, for the register.
pub(crate) fn close(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
) -> Result<(), StoreError> {
    let before = person(latest, user)?;
    if let Some(invitation) = &before.invitation {
        invitation_lists::remove(latest, batch, invitation)?;
    }
    let after = PersonRecord {
        kind: before.kind,
        organisation: before.organisation.clone(),
        ..PersonRecord::default()
    };
    write(batch, user, &before, &after);
    departments::remove_from_all(latest, batch, user)
}

impl Accounts {
    /// Makes somebody a partner of an organisation, or a member.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_kind(
        &self,
        act: &Act,
        user: UserSerial,
        kind: PersonKind,
        organisation: Option<String>,
    ) -> Result<(), AdministrationError> {
        let organisation = organisation
            .map(|name| name[..name.floor_char_boundary(MAX_ORGANISATION_BYTES)].to_owned());
        self.change_person(act, Verb::KindChanged, user, move |person| {
            let told = |person: &PersonRecord| {
                json!({ "kind": person.kind.name(), "organisation": person.organisation })
            };
            let before = told(person);
            person.kind = kind;
            person.organisation = organisation;
            (before, told(person))
        })
        .await
    }

    /// Gives a person limits of their own, or takes them away.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_limits(
        &self,
        act: &Act,
        user: UserSerial,
        change: impl FnOnce(PersonLimits) -> PersonLimits + Send + 'static,
    ) -> Result<(), AdministrationError> {
        self.change_person(act, Verb::LimitsChanged, user, move |person| {
            let before = limits_json(&person.limits);
            person.limits = change(person.limits);
            (before, limits_json(&person.limits))
        })
        .await
    }

    /// `change` says what it was before and what it is now.
    pub(crate) async fn change_person(
        &self,
        act: &Act,
        verb: Verb,
        user: UserSerial,
        change: impl FnOnce(&mut PersonRecord) -> (Value, Value) + Send + 'static,
    ) -> Result<(), AdministrationError> {
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                active(latest, user)?;
                let before = person(latest, user)?;
                let mut after = before.clone();
                let (was, is) = change(&mut after);
                if before == after {
                    return Ok(());
                }
                write(batch, user, &before, &after);
                people_lists::relist(latest, batch, user, |known| known.kind = after.kind)?;
                let deed = audited::deed(latest, &act, verb, user)?;
                audit::record(latest, batch, now, &[deed.before(was).after(is)])?;
                Changes::at(position).log(batch, &LogEntry::Account { user });
                sessions.evict_user(user, position);
                Ok(())
            })
            .await
    }
}

/// Limits as the audit trail and lists tell them; `null` is as everybody.
pub fn limits_json(limits: &PersonLimits) -> Value {
    json!({
        "requests_per_second": limits.requests_per_second,
        "burst": limits.burst,
        "media_bytes": limits.media_bytes,
        "devices": limits.devices,
    })
}
