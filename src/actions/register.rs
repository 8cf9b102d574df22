//! The verbs of `cairn register`: who was in which group.

use audit::Verb;
use rooms::{
    PersonStay, ReadError, RegisterError, RegisterPart, RoomThen, register_of_person,
    register_of_room,
};
use runtime::Timestamp;
use serde_json::{Value, json};
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Right};

impl Actions {
    /// Who was in a room at a moment (now, if none is named), in ms since the Unix epoch: all of
    /// them, or a part with the one behind whom it goes on. That somebody asked is told to the audit
    /// trail.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn register_of_room(
        &self,
        by: &Administrator,
        room: &str,
        at: Option<u64>,
        part: RegisterPart,
    ) -> Result<(RoomThen, Option<u64>), AdministrationError> {
        by.must(Right::ReadRegister)?;
        let at = at.unwrap_or(self.clock.now().0);
        let typed = room.to_owned();
        let read = move |view: &Snapshot| -> Result<(RoomThen, Option<u64>), RegisterError> {
            let room_id = match ruma_common::RoomAliasId::parse(typed.as_str()) {
                Ok(alias) => match rooms::resolve_alias(view, &alias) {
                    Ok(room_id) => room_id.to_string(),
                    Err(ReadError::Store(error)) => return Err(error.into()),
                    Err(_) => return Err(RegisterError::UnknownRoom),
                },
                Err(_) => typed,
            };
            register_of_room(view, &room_id, at, &part)
        };
        let (then, next): (RoomThen, _) = self.rooms.store().read_long(read).await?;
        let deed = by.act().did(Verb::RegisterRead);
        let deed = deed.within(then.room_id.clone());
        self.tell(deed.after(json!({ "at": at }))).await?;
        Ok((then, next))
    }

    /// In which rooms somebody was, from when to when: all of them, or a part with the room behind
    /// which it goes on. That somebody asked is told to the audit trail.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn register_of_person(
        &self,
        by: &Administrator,
        user: &str,
        part: RegisterPart,
    ) -> Result<(String, Vec<PersonStay>, Option<u64>), AdministrationError> {
        by.must(Right::ReadRegister)?;
        let user_id = match user.starts_with('@') && user.contains(':') {
            true => user.to_owned(),
            false => self
                .accounts
                .typed_user_id(user)
                .ok_or_else(|| AdministrationError::UnknownUser(user.to_owned()))?
                .to_string(),
        };
        let asked = user_id.clone();
        let read = move |view: &Snapshot| register_of_person(view, &asked, &part);
        let (stays, next): (Vec<PersonStay>, _) = self.rooms.store().read_long(read).await?;
        self.tell(by.act().did(Verb::RegisterRead).on(user_id.clone()))
            .await?;
        Ok((user_id, stays, next))
    }

    pub(crate) async fn show_room_then(
        &self,
        by: &Administrator,
        room: &str,
        at: Option<u64>,
    ) -> Result<Value, AdministrationError> {
        let (then, _) = self
            .register_of_room(by, room, at, RegisterPart::ALL)
            .await?;
        let csv = room_csv(&then);
        Ok(json!({ "room": then, "csv": csv }))
    }

    pub(crate) async fn show_person_stays(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Value, AdministrationError> {
        let (user_id, stays, _) = self.register_of_person(by, user, RegisterPart::ALL).await?;
        let csv = person_csv(&stays);
        Ok(json!({ "user_id": user_id, "stays": stays, "csv": csv }))
    }
}

/// The members of a room as a table for spreadsheets (RFC 4180).
pub fn room_csv(then: &RoomThen) -> String {
    let head = "user_id,organisation,membership,since,power,invited_by\r\n";
    let rows = then.members.iter().map(|member| {
        let power = match (member.is_creator, member.power) {
            (true, _) => "creator".to_owned(),
            (false, power) => power.unwrap_or_default().to_string(),
        };
        row(&[
            &member.user_id,
            &member.organisation,
            &member.membership,
            &Timestamp(member.since).to_string(),
            &power,
            member.invited_by.as_deref().unwrap_or_default(),
        ])
    });
    head.to_owned() + &rows.collect::<String>()
}

/// Somebody's times in rooms as a table for spreadsheets.
pub fn person_csv(stays: &[PersonStay]) -> String {
    let head = "room_id,name,since,until,invited_by,ended_by,ended_with\r\n";
    let rows = stays.iter().map(|stay| {
        let until = stay.until.map(|until| Timestamp(until).to_string());
        row(&[
            &stay.room_id,
            &harmless(stay.name.as_deref().unwrap_or_default()),
            &Timestamp(stay.since).to_string(),
            until.as_deref().unwrap_or_default(),
            stay.invited_by.as_deref().unwrap_or_default(),
            stay.ended_by.as_deref().unwrap_or_default(),
            stay.ended_with.as_deref().unwrap_or_default(),
        ])
    });
    head.to_owned() + &rows.collect::<String>()
}

fn row(fields: &[&str]) -> String {
    let quoted = fields
        .iter()
        .map(|field| match field.contains([',', '"', '\r', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => (*field).to_owned(),
        });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

/// A text that people write, so that no spreadsheet takes it for a formula.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_whatever_rooms_are_called() {
        let stay = PersonStay {
            room_id: "!r:a.test".to_owned(),
            name: Some("=HYPERLINK(\"x\"), \"net\"\nwork".to_owned()),
            since: 0,
            until: Some(86_400_000),
            invited_by: None,
            ended_by: Some("@b:a.test".to_owned()),
            ended_with: Some("ban".to_owned()),
        };
        let csv = person_csv(&[stay]);
        let (_, row) = csv.split_once("\r\n").unwrap();
        assert_eq!(
            row,
            "!r:a.test,\"'=HYPERLINK(\"\"x\"\"), \"\"net\"\"\nwork\",1970-01-01T00:00:00.000Z,\
             1970-01-02T00:00:00.000Z,,@b:a.test,ban\r\n"
        );
    }
}
