//! What people have reported, as administrators see it.

use model::{ReportRecord, Reported, tables};
use rooms::reports;
use serde_json::{Value, json};
use store::{Position, Read, Snapshot, StoreError};

use crate::{Actions, AdministrationError};

/// The most reports that are listed.
const MOST: usize = 500;

impl Actions {
    pub(crate) async fn list_reports(&self) -> Result<Value, AdministrationError> {
        let read = |view: &Snapshot| {
            let reports = reports(view, None, MOST)?;
            reports
                .iter()
                .map(|(position, report)| shown(view, *position, report))
                .collect::<Result<Vec<Value>, StoreError>>()
        };
        let reports: Vec<Value> = self.rooms.store().read(read).await?;
        Ok(json!({ "reports": reports }))
    }
}

fn shown(view: &Snapshot, position: Position, report: &ReportRecord) -> Result<Value, StoreError> {
    let mut shown = json!({
        "id": position.0,
        "at": report.at,
        "reporter": model::user_id(view, report.reporter)?,
        "reason": report.reason,
        "score": report.score,
    });
    match report.target {
        Reported::Room(room) => shown["room_id"] = model::room_id(view, room)?.into(),
        Reported::Event(room, event) => {
            let stored = view.get(&tables::EVENT_BY_SERIAL, &event)?;
            shown["room_id"] = model::room_id(view, room)?.into();
            shown["event_id"] = stored.map(|stored| stored.event_id).into();
        }
        Reported::User(user) => shown["user_id"] = model::user_id(view, user)?.into(),
    }
    Ok(shown)
}
