//! What the command line asks about people beyond their accounts.

use accounts::{Closing, DepartmentError, ImportError, ImportedRow, limits_json};
use model::{PersonKind, UserSerial};
use runtime::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Actions, AdministrationError, Administrator, Handover, LimitChanges};

/// The most that one answer of a list has.
const PAGE: usize = 1_000;

/// What can be asked about people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum PeopleWish {
    /// Says what lines of a table would do.
    CheckImport {
        /// The lines.
        rows: Vec<ImportedRow>,
    },
    /// Does what lines of a table say.
    Import {
        /// The lines.
        rows: Vec<ImportedRow>,
        /// Whether bad lines keep the others from nothing.
        skips_bad: bool,
    },
    /// Invites people who have no password.
    Invite {
        /// Who.
        users: Vec<String>,
        /// When the invitations end.
        expires_after_days: Option<u32>,
        /// Whether by e-mail, where there is an address.
        by_mail: bool,
    },
    /// Notes that people have their invitations.
    InvitationsGiven {
        /// Who.
        users: Vec<String>,
    },
    /// Sets the end of an account.
    SetEnd {
        /// Whose.
        user: String,
        /// In ms since the Unix epoch; none if left out.
        expires_at: Option<u64>,
        /// Whether the person may put it off.
        is_renewable: bool,
    },
    /// Renews an account.
    Renew {
        /// Whose.
        user: String,
    },
    /// Makes somebody a partner, or a member.
    SetKind {
        /// Who.
        user: String,
        /// What.
        kind: PersonKind,
        /// For whom they work.
        organisation: Option<String>,
    },
    /// Opens a room to partners, or closes it.
    OpenRoom {
        /// Which.
        room: String,
        /// Whether it is open then.
        is_open: bool,
    },
    /// Lists the rooms that are open to partners.
    ListOpenRooms,
    /// Gives a person limits of their own.
    ChangeLimits {
        /// Who.
        user: String,
        /// Which.
        changes: LimitChanges,
    },
    /// Says what is known of a person beside the account.
    ShowPerson {
        /// Who.
        user: String,
    },
    /// Says which rooms would be handed over.
    PlanClosing {
        /// Whose.
        user: String,
        /// To whom.
        to: Option<String>,
    },
    /// Closes an account.
    Close {
        /// Whose.
        user: String,
        /// Whether to hide what they wrote from those who join later.
        erase: bool,
        /// Whether the rooms that they ran alone are handed over.
        hands_over: bool,
        /// To whom.
        to: Option<String>,
    },
    /// Makes a department.
    CreateDepartment {
        /// Its name.
        name: String,
    },
    /// Ends a department.
    DeleteDepartment {
        /// Its name.
        name: String,
    },
    /// Lists the departments, behind that one.
    ListDepartments {
        /// The name.
        after: Option<String>,
    },
    /// Shows a department with a part of its people.
    ShowDepartment {
        /// Its name.
        name: String,
        /// Behind whom.
        after: Option<u64>,
    },
    /// Gives a department a room, or takes one away.
    DepartmentRoom {
        /// Its name.
        name: String,
        /// The room.
        room: String,
        /// Whether it has it then.
        belongs: bool,
    },
    /// Puts somebody into a department, or takes them out.
    DepartmentMember {
        /// Its name.
        name: String,
        /// Who.
        user: String,
        /// Whether they belong to it then.
        belongs: bool,
    },
}

/// Why a wish about people was not done.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The lines of a table cannot be taken.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The department is not there, or cannot be so.
    #[error(transparent)]
    Department(#[from] DepartmentError),
    /// The server sends no e-mail.
    #[error("this server sends no e-mail: [mail] in the configuration names no relay")]
    NoLetters,
    /// Accounts have no end here, so there is nothing to renew them to.
    #[error("accounts have no end here ([accounts] validity_days is 0): name a day instead")]
    NoValidity,
    /// Somebody cannot take rooms over.
    #[error("{0} cannot take rooms over: it must be another member whose account can be used")]
    Heir(String),
}

impl From<DepartmentError> for AdministrationError {
    fn from(error: DepartmentError) -> Self {
        match error {
            DepartmentError::Store(error) => Self::Store(error),
            other => PeopleError::Department(other).into(),
        }
    }
}

impl Actions {
    /// Does what is asked about people, and answers in JSON.
    pub(crate) async fn administer_people(
        &self,
        by: &Administrator,
        wish: PeopleWish,
    ) -> Result<Value, AdministrationError> {
        match wish {
            PeopleWish::CheckImport { rows } => {
                let rows = self.check_import(by, rows).await?;
                Ok(json!({ "rows": rows }))
            }
            PeopleWish::Import { rows, skips_bad } => {
                let done = self.import_people(by, rows, skips_bad).await?;
                Ok(json!({ "applied": done.is_applied, "rows": done.rows }))
            }
            PeopleWish::Invite {
                users,
                expires_after_days,
                by_mail,
            } => {
                self.show_invited(by, &users, expires_after_days, by_mail)
                    .await
            }
            PeopleWish::InvitationsGiven { users } => {
                self.invitations_given(by, &users).await?;
                Ok(json!({}))
            }
            PeopleWish::SetEnd {
                user,
                expires_at,
                is_renewable,
            } => {
                self.set_end_of(by, &user, expires_at, is_renewable).await?;
                self.show_about(by, &user).await
            }
            PeopleWish::Renew { user } => {
                self.renew_account_of(by, &user).await?;
                self.show_about(by, &user).await
            }
            PeopleWish::SetKind {
                user,
                kind,
                organisation,
            } => {
                self.set_kind_of(by, &user, kind, organisation).await?;
                self.show_about(by, &user).await
            }
            PeopleWish::ChangeLimits { user, changes } => {
                self.change_limits_of(by, &user, changes).await?;
                self.show_about(by, &user).await
            }
            PeopleWish::ShowPerson { user } => self.show_about(by, &user).await,
            PeopleWish::OpenRoom { room, is_open } => {
                let room_id = self.open_room_to_partners(by, &room, is_open).await?;
                Ok(json!({ "room_id": room_id, "open_to_partners": is_open }))
            }
            PeopleWish::ListOpenRooms => {
                let rooms = self.rooms_open_to_partners(by).await?;
                let rooms = rooms.into_iter().map(|room| {
                    json!({ "room_id": room.room_id, "name": room.name, "at": room.at, "by": room.by })
                });
                Ok(json!({ "rooms": rooms.collect::<Vec<_>>() }))
            }
            PeopleWish::PlanClosing { user, to } => {
                let planned = self.plan_closing(by, &user, to.as_deref()).await?;
                Ok(json!({ "rooms": handovers_json(&planned) }))
            }
            PeopleWish::Close {
                user,
                erase,
                hands_over,
                to,
            } => {
                let closing = Closing {
                    erase,
                    hands_over,
                    to,
                };
                let done = self.close_account(by, &user, closing).await?;
                let user_id = self.user(&user).await?.user_id;
                Ok(json!({ "user_id": user_id, "rooms": handovers_json(&done) }))
            }
            department => self.administer_departments(by, department).await,
        }
    }

    async fn administer_departments(
        &self,
        by: &Administrator,
        wish: PeopleWish,
    ) -> Result<Value, AdministrationError> {
        match wish {
            PeopleWish::CreateDepartment { name } => {
                self.create_department(by, &name).await?;
                Ok(json!({ "department": name.trim() }))
            }
            PeopleWish::DeleteDepartment { name } => {
                self.delete_department(by, &name).await?;
                Ok(json!({ "department": name.trim() }))
            }
            PeopleWish::ListDepartments { after } => {
                let found = self.departments(by, after, PAGE).await?;
                let next = (found.len() == PAGE).then(|| found.last()).flatten();
                let next = next.map(|last| last.name.clone());
                let shown = found.iter().map(|one| {
                    json!({
                        "department": one.name, "created_at": one.created_at,
                        "people": one.people, "rooms": one.rooms.len(),
                    })
                });
                Ok(json!({ "departments": shown.collect::<Vec<_>>(), "next": next }))
            }
            PeopleWish::ShowDepartment { name, after } => {
                let after = after.map(UserSerial);
                let shown = self.department(by, &name, after, PAGE).await?;
                let waiting = shown.waiting.iter().map(|one| {
                    json!({
                        "user_id": one.user_id, "room_id": one.room_id,
                        "comes": one.comes, "failure": one.failure,
                    })
                });
                Ok(json!({
                    "department": shown.department.name,
                    "created_at": shown.department.created_at,
                    "people": shown.department.people,
                    "rooms": shown.rooms,
                    "members": shown.people,
                    "next": shown.next.map(|user| user.0),
                    "waiting": waiting.collect::<Vec<_>>(),
                }))
            }
            PeopleWish::DepartmentRoom {
                name,
                room,
                belongs,
            } => {
                let (room_id, changed) =
                    self.set_department_room(by, &name, &room, belongs).await?;
                Ok(json!({ "department": name.trim(), "room_id": room_id, "changed": changed }))
            }
            PeopleWish::DepartmentMember {
                name,
                user,
                belongs,
            } => {
                let changed = self
                    .set_department_member(by, &name, &user, belongs)
                    .await?;
                Ok(json!({ "department": name.trim(), "user": user, "changed": changed }))
            }
            // The others are not about departments.
            _ => Ok(json!({})),
        }
    }

    async fn show_invited(
        &self,
        by: &Administrator,
        users: &[String],
        expires_after_days: Option<u32>,
        by_mail: bool,
    ) -> Result<Value, AdministrationError> {
        let given = self
            .invite_people(by, users, expires_after_days, by_mail)
            .await?;
        let shown = given.iter().map(|one| {
            json!({
                "user_id": one.user_id,
                "display_name": one.display_name,
                "sent_to": one.sent_to,
                "token": one.token,
                "expires_at": one.expires_at,
                "failure": one.failure,
            })
        });
        Ok(json!({ "invitations": shown.collect::<Vec<_>>() }))
    }

    /// All that is known of a person beside the account.
    pub(crate) async fn show_about(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Value, AdministrationError> {
        let person = self.about_person(by, user).await?;
        let departments = self.departments_of(by, user).await?;
        let user_id = self.user(user).await?.user_id;
        Ok(json!({
            "user_id": user_id,
            "kind": person.kind.name(),
            "organisation": person.organisation,
            "language": person.language,
            "departments": departments,
            "expires_at": person.expires_at,
            "expires": person.expires_at.map(|end| Timestamp(end).to_string()),
            "renewable": person.is_renewable,
            "limits": limits_json(&person.limits),
            "told": person.restraint,
        }))
    }
}

fn handovers_json(handovers: &[Handover]) -> Value {
    let shown = handovers.iter().map(|one| {
        json!({
            "room_id": one.room.room_id,
            "name": one.room.name,
            "others": one.room.others,
            "to": one.to,
        })
    });
    shown.collect()
}
