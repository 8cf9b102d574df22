//! Many people at once, as a table of them says: who is not there yet gets an account without a
//! password, who is there is changed to what the table says. The same table twice changes
//! nothing the second time.

use audit::{Act, Deed, Verb};
use model::{
    AccountRecord, Changes, EmailRecord, LogEntry, PersonKind, Roles, StandingRecord, UserSerial,
    intern_user,
    tables::{ACCOUNT_BY_USER, EMAIL_BY_USER, PROFILE_FIELD_BY_USER, USER_BY_EMAIL},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{
    AccountDataError, Accounts,
    account_data::{self, NewAccountData},
    departments, emails,
    import_plan::{Draft, Planned, RowError, Seen, bad, plan},
    invitations::needs_invitation,
    people_lists, person,
    profiles::DISPLAY_NAME,
    push_rules, user_directory,
};

/// The most people of one commit.
const MOST_AT_ONCE: usize = 1_000;

/// What a table says of one thing about a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell<T> {
    /// Nothing: it stays as it is.
    #[default]
    Keep,
    /// That there is none.
    Clear,
    /// That it is this.
    Set(T),
}

impl<T> Cell<T> {
    /// What there is then, where there was `before`.
    pub(crate) fn after(&self, before: Option<T>) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// A person as a table has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportedRow {
    /// In which line they stand, for the report.
    pub line: u64,
    /// The name before the colon of the user's id.
    pub localpart: String,
    /// The name that they go by.
    pub display_name: Cell<String>,
    /// Their one e-mail address.
    pub email: Cell<String>,
    /// All their departments.
    pub departments: Cell<Vec<String>>,
    /// What they are to this server.
    pub kind: Option<PersonKind>,
    /// For whom they work.
    pub organisation: Cell<String>,
    /// When the account ends, in ms since the Unix epoch.
    pub expires_at: Cell<u64>,
    /// Their language (BCP 47).
    pub language: Cell<String>,
}

/// What becomes of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// The account is made.
    Created,
    /// These of their things are changed.
    Changed(Vec<String>),
    /// All is as the table says already.
    Unchanged,
    /// It cannot be, for this reason.
    Refused(String),
}

/// What becomes of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowReport {
    /// The line.
    pub line: u64,
    /// The name before the colon.
    pub localpart: String,
    /// What becomes of it.
    pub outcome: RowOutcome,
    /// Whether they have no password and no invitation by which to choose one.
    pub needs_invitation: bool,
}

impl RowReport {
    fn of(row: &ImportedRow, outcome: RowOutcome, needs_invitation: bool) -> Self {
        Self {
            line: row.line,
            localpart: row.localpart.clone(),
            outcome,
            needs_invitation,
        }
    }

    /// Whether the line is bad.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, RowOutcome::Refused(_))
    }
}

/// Why nobody was imported.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// More people than one commit takes.
    #[error("at most {} people are imported at once", MOST_AT_ONCE)]
    TooMany,
    /// Some lines are bad: nothing was done.
    #[error("{} lines are bad; nothing was imported", .0.len())]
    Refused(Vec<RowReport>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// What would become of these lines. Nothing is changed. `reaches_roles` says whether
    /// whoever asks may change those who have a role.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn check_import(
        &self,
        rows: Vec<ImportedRow>,
        reaches_roles: bool,
    ) -> Result<Vec<RowReport>, StoreError> {
        let (accounts, now) = (self.clone(), self.now());
        let read = move |view: &Snapshot| -> Result<Vec<RowReport>, StoreError> {
            let mut seen = Seen::default();
            let mut reports = Vec::with_capacity(rows.len());
            for row in &rows {
                let planned = accounts.draft_row(row).and_then(|draft| {
                    seen.check(row)?;
                    let planned = plan(view, row, &draft, reaches_roles, now)?;
                    Ok((planned.user, planned.outcome()))
                });
                reports.push(report(view, row, planned, now)?);
            }
            Ok(reports)
        };
        self.store().read_long(read).await
    }

    /// Does what these lines say, in one commit: all of them, or, if some are bad, none; those
    /// that are good with `skips_bad`.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn import(
        &self,
        act: &Act,
        rows: Vec<ImportedRow>,
        reaches_roles: bool,
        skips_bad: bool,
    ) -> Result<Vec<RowReport>, ImportError> {
        if rows.len() > MOST_AT_ONCE {
            return Err(ImportError::TooMany);
        }
        let (now, act) = (self.now(), act.clone());
        let sessions = self.inner.sessions.clone();
        let mut seen = Seen::default();
        let drafted: Vec<(ImportedRow, Result<Draft, RowError>)> = rows
            .into_iter()
            .map(|row| {
                let draft = self.draft_row(&row);
                let draft = draft.and_then(|draft| seen.check(&row).map(|()| draft));
                (row, draft)
            })
            .collect();
        self.store()
            .commit(move |latest, position, batch| {
                let mut changes = Changes::at(position);
                let (mut reports, mut deeds) = (Vec::new(), Vec::new());
                for (row, draft) in drafted {
                    let planned = draft.and_then(|draft| {
                        let planned = plan(latest, &row, &draft, reaches_roles, now)?;
                        Ok((draft, planned))
                    });
                    let outcome = match planned {
                        Ok((draft, planned)) => {
                            if planned.user.is_none() || !planned.changed.is_empty() {
                                let rows = (&mut *batch, &mut changes);
                                let user = write(latest, rows, &row, &draft, &planned, now)?;
                                sessions.evict_user(user, position);
                                deeds.push(deed(&act, &draft, &planned));
                            }
                            Ok((planned.user, planned.outcome()))
                        }
                        Err(error) => Err(error),
                    };
                    reports.push(report(latest, &row, outcome, now)?);
                }
                if !skips_bad && reports.iter().any(RowReport::is_refused) {
                    let refused = reports.into_iter().filter(RowReport::is_refused);
                    return Err(ImportError::Refused(refused.collect()));
                }
                audit::record(latest, batch, now, &deeds)?;
                Ok(reports)
            })
            .await
    }

    /// What can be known of a line without the database.
    fn draft_row(&self, row: &ImportedRow) -> Result<Draft, RowError> {
        let typed = self.typed_user_id(&row.localpart);
        let localpart = typed
            .as_ref()
            .map_or(row.localpart.as_str(), |id| id.localpart());
        let user_id = self
            .new_user_id(localpart)
            .map_err(|error| bad(error.to_string()))?;
        let free = self.services().check_user(&user_id, None);
        free.map_err(|error| bad(error.to_string()))?;
        Ok(Draft {
            push_rules: push_rules::server_default(
                &user_id,
                self.inner.options.thread_subscriptions,
            ),
            user_id,
            candidate: self.store().next_serial(),
            default_end: self.default_end(),
        })
    }
}

/// The report of a line, of which it is known what becomes of it or what stands in its way.
fn report(
    view: &impl Read,
    row: &ImportedRow,
    planned: Result<(Option<UserSerial>, RowOutcome), RowError>,
    now: u64,
) -> Result<RowReport, StoreError> {
    match planned {
        Ok((user, outcome)) => {
            let needs = match user {
                Some(user) => needs_invitation(view, user, now)?,
                None => true,
            };
            Ok(RowReport::of(row, outcome, needs))
        }
        Err(RowError::Bad(why)) => Ok(RowReport::of(row, RowOutcome::Refused(why), false)),
        Err(RowError::Store(error)) => Err(error),
    }
}

/// Writes what a line makes of a person.
fn write(
    latest: &Latest,
    (batch, changes): (&mut Batch, &mut Changes),
    row: &ImportedRow,
    draft: &Draft,
    planned: &Planned,
    now: u64,
) -> Result<UserSerial, StoreError> {
    let user = match planned.user {
        Some(user) => user,
        None => write_account(latest, (batch, changes), draft, planned, now)?,
    };
    if planned.changes("display_name") {
        if planned.user.is_some() {
            let name = planned.display_name();
            user_directory::rename(latest, batch, user, name.as_deref())?;
        }
        let key = (user, DISPLAY_NAME.to_owned());
        match &planned.name {
            Some(json) => batch.put(&PROFILE_FIELD_BY_USER, &key, json),
            None => batch.delete(&PROFILE_FIELD_BY_USER, &key),
        }
    }
    if planned.changes("email") && row.email != Cell::Keep {
        write_email(latest, batch, user, planned.email.as_ref(), now)?;
    }
    if planned.user.is_some() {
        people_lists::relist(latest, batch, user, |known| {
            known.kind = planned.after.kind;
            if planned.changes("display_name") {
                known.display_name = planned.display_name();
            }
        })?;
    }
    person::write(batch, user, &planned.before, &planned.after);
    departments::replace(latest, batch, user, &planned.departments, now)?;
    changes.log(batch, &LogEntry::Account { user });
    Ok(user)
}

/// The rows of an account that was not there.
fn write_account(
    latest: &Latest,
    (batch, changes): (&mut Batch, &mut Changes),
    draft: &Draft,
    planned: &Planned,
    now: u64,
) -> Result<UserSerial, StoreError> {
    let user = intern_user(latest, batch, draft.user_id.as_str(), draft.candidate)?;
    let account = AccountRecord {
        created_at: now,
        roles: Roles::NONE,
        is_locked: false,
        deactivated_at: None,
        is_erased: false,
    };
    batch.put(&ACCOUNT_BY_USER, &user, &account);
    let name = planned.display_name();
    user_directory::add(batch, user, &draft.user_id, name.as_deref());
    let listed = people_lists::new(
        &account,
        &StandingRecord::default(),
        planned.after.kind,
        name,
    );
    people_lists::list(latest, batch, (user, draft.user_id.as_str()), &listed)?;
    let rules = NewAccountData {
        user,
        room: None,
        event_type: push_rules::EVENT_TYPE.to_owned(),
        json: draft.push_rules.clone(),
    };
    // A new account has room for its first entry: nothing else can go wrong.
    match account_data::write(latest, batch, changes, rules) {
        Err(AccountDataError::Store(error)) => Err(error),
        _ => Ok(user),
    }
}

/// Puts one address into the place of all that a person had.
fn write_email(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    email: Option<&String>,
    now: u64,
) -> Result<(), StoreError> {
    for known in emails(latest, user)? {
        if Some(&known.address) != email {
            batch.delete(&USER_BY_EMAIL, &known.address);
            batch.delete(&EMAIL_BY_USER, &(user, known.address));
        }
    }
    if let Some(email) = email {
        let record = EmailRecord {
            validated_at: now,
            added_at: now,
        };
        batch.put(&USER_BY_EMAIL, email, &user);
        batch.put(&EMAIL_BY_USER, &(user, email.clone()), &record);
    }
    Ok(())
}

/// What the audit trail is told of a line.
fn deed(act: &Act, draft: &Draft, planned: &Planned) -> Deed {
    let mut told = Map::new();
    for (thing, value) in [
        ("email", json!(planned.email)),
        ("departments", json!(planned.departments)),
        ("kind", json!(planned.after.kind.name())),
        ("organisation", json!(planned.after.organisation)),
        ("expires", json!(planned.after.expires_at)),
        ("language", json!(planned.after.language)),
    ] {
        if planned.changes(thing) && value != Value::Null && value != json!([]) {
            told.insert(thing.to_owned(), value);
        }
    }
    told.insert("changed".to_owned(), json!(planned.changed));
    told.insert("is_new".to_owned(), planned.user.is_none().into());
    let deed = act.did(Verb::PersonImported).on(draft.user_id.as_str());
    deed.after(told.into())
}
