//! What people have reported, as administrators see it.

use audit::Verb;
use model::{ReportRecord, Reported, tables};
use rooms::reports;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Position, Read, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// The most reports that are listed at the command line.
const MOST: usize = 500;
/// The most reports that are looked at for one page.
const MOST_LOOKED_AT: usize = 100_000;

/// Of what reports are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportsOf {
    /// Of anything.
    #[default]
    Anything,
    /// Of events.
    Events,
    /// Of people.
    People,
}

impl ReportsOf {
    fn includes(self, target: &Reported) -> bool {
        match self {
            Self::Anything => true,
            Self::Events => matches!(target, Reported::Event(..)),
            Self::People => matches!(target, Reported::User(_)),
        }
    }
}

/// Which reports are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportsQuery {
    /// Of what.
    pub of: ReportsOf,
    /// Who reported.
    pub reporter: Option<String>,
    /// Of which room.
    pub room_id: Option<String>,
    /// Of events of which sender.
    pub sender: Option<String>,
    /// Of which person.
    pub user_id: Option<String>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// How many are passed over.
    pub from: usize,
    /// How many are wanted at most.
    pub limit: usize,
}

/// A report as administrators see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub id: u64,
    /// When it came, in ms since the Unix epoch.
    pub at: u64,
    /// Who reported.
    pub reporter: Option<String>,
    /// Why, in their words.
    pub reason: String,
    /// How bad it is, as older clients say.
    pub score: Option<i32>,
    /// The room.
    pub room_id: Option<String>,
    /// What the room is called.
    pub room_name: Option<String>,
    /// The room's main alias.
    pub canonical_alias: Option<String>,
    /// The event.
    pub event_id: Option<String>,
    /// Who sent the event.
    pub sender: Option<String>,
    /// The person who is reported.
    pub user_id: Option<String>,
    /// The event itself, where one report is asked for.
    pub event: Option<Value>,
}

/// A part of the list of reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportsPage {
    /// The reports.
    pub reports: Vec<Report>,
    /// How many there are in all.
    pub total: usize,
}

impl Actions {
    /// A part of the list of reports.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn reports(
        &self,
        by: &Administrator,
        query: ReportsQuery,
    ) -> Result<ReportsPage, AdministrationError> {
        by.must(Right::ListReports)?;
        let read = move |view: &Snapshot| page(view, &query);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// One report, with the event that it is about.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn report(&self, by: &Administrator, id: u64) -> Result<Report, AdministrationError> {
        by.must(Right::ListReports)?;
        let read = move |view: &Snapshot| -> Result<Option<Report>, StoreError> {
            let position = Position(id);
            let record = view.get(&tables::REPORT_BY_POSITION, &position)?;
            record
                .map(|record| described(view, position, &record, true))
                .transpose()
        };
        let found: Option<Report> = self.rooms.store().read(read).await?;
        found.ok_or(AdministrationError::UnknownReport(id))
    }

    /// Takes a report out of the list: it was dealt with.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn close_report(
        &self,
        by: &Administrator,
        id: u64,
    ) -> Result<(), AdministrationError> {
        by.must(Right::CloseReports)?;
        let report = self.report(by, id).await?;
        let about = [report.user_id, report.event_id, report.room_id.clone()];
        let deed = by.act().did(Verb::ReportClosed);
        let deed = deed.on(about.into_iter().flatten().next().unwrap_or_default());
        let deed = match report.room_id {
            Some(room_id) => deed.within(room_id),
            None => deed,
        };
        let deed = deed.before(json!({ "id": id, "reporter": report.reporter }));
        match self.rooms.close_report(Position(id), deed).await? {
            true => Ok(()),
            false => Err(AdministrationError::UnknownReport(id)),
        }
    }

    pub(crate) async fn list_reports(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        let query = ReportsQuery {
            limit: MOST,
            ..ReportsQuery::default()
        };
        let found = self.reports(by, query).await?;
        let reports: Vec<Value> = found.reports.iter().map(shown).collect();
        Ok(json!({ "reports": reports }))
    }
}

fn page(view: &Snapshot, query: &ReportsQuery) -> Result<ReportsPage, StoreError> {
    let mut all = reports(view, None, MOST_LOOKED_AT)?;
    if query.oldest_first {
        all.reverse();
    }
    let mut found = ReportsPage::default();
    for (position, record) in all {
        if !query.of.includes(&record.target) {
            continue;
        }
        let filters = [
            &query.reporter,
            &query.room_id,
            &query.sender,
            &query.user_id,
        ];
        let is_filtered = filters.into_iter().any(Option::is_some);
        let is_shown = found.total >= query.from && found.reports.len() < query.limit;
        if !is_filtered && !is_shown {
            found.total += 1;
            continue;
        }
        let report = described(view, position, &record, false)?;
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        if is(&query.reporter, &report.reporter)
            && is(&query.room_id, &report.room_id)
            && is(&query.sender, &report.sender)
            && is(&query.user_id, &report.user_id)
        {
            if is_shown {
                found.reports.push(report);
            }
            found.total += 1;
        }
    }
    Ok(found)
}

pub(crate) fn described(
    view: &Snapshot,
    position: Position,
    record: &ReportRecord,
    with_event: bool,
) -> Result<Report, StoreError> {
    #[derive(Deserialize)]
    struct Header {
        sender: String,
    }
    let mut report = Report {
        id: position.0,
        at: record.at,
        reporter: model::user_id(view, record.reporter)?,
        reason: record.reason.clone(),
        score: record.score,
        ..Report::default()
    };
    let room = match record.target {
        Reported::Room(room) | Reported::Event(room, _) => Some(room),
        Reported::User(user) => {
            report.user_id = model::user_id(view, user)?;
            None
        }
    };
    if let Some(room) = room {
        report.room_id = model::room_id(view, room)?;
        report.room_name = rooms::room_text(view, room, "m.room.name", "name")?;
        report.canonical_alias = rooms::room_text(view, room, "m.room.canonical_alias", "alias")?;
    }
    if let Reported::Event(_, event) = record.target
        && let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &event)?
    {
        let header: Option<Header> = serde_json::from_slice(&stored.json).ok();
        report.sender = header.map(|header| header.sender);
        report.event = match with_event {
            true => serde_json::from_slice(&stored.json).ok(),
            false => None,
        };
        report.event_id = Some(stored.event_id);
    }
    Ok(report)
}

/// A report as `cairn reports` has it.
fn shown(report: &Report) -> Value {
    let mut shown = json!({
        "id": report.id,
        "at": report.at,
        "reporter": report.reporter,
        "reason": report.reason,
        "score": report.score,
    });
    let about = [
        ("room_id", &report.room_id),
        ("event_id", &report.event_id),
        ("user_id", &report.user_id),
    ];
    for (name, id) in about {
        if let Some(id) = id {
            shown[name] = id.as_str().into();
        }
    }
    shown
}
