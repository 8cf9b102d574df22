//! Bringing many people in at once: what a table of them would do, doing it, and inviting those
//! who have no password yet.

use accounts::{ImportError, ImportedRow, PersonInvitation, RowReport};
use model::{Role, UserSerial};
use ruma_common::OwnedUserId;
use store::StoreError;

use crate::{
    Actions, AdministrationError, Administrator, PeopleError, Right, people_letters::Words,
    person_changes::acting_as, sender,
};

/// How many people are imported in one commit.
pub const IMPORTED_AT_ONCE: usize = 250;
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// The page of an invitation, behind the server's address.
const PAGE: &str = "join";

/// What became of some lines of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Whether they were done. If not, the lines below are the bad ones, and nothing was done.
    pub is_applied: bool,
    /// The lines.
    pub rows: Vec<RowReport>,
}

/// An invitation of somebody whose account is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenInvitation {
    /// Whose.
    pub user_id: OwnedUserId,
    /// The name that they go by.
    pub display_name: Option<String>,
    /// Where it was sent, if it was.
    pub sent_to: Option<String>,
    /// The token, to be given to them by other means; it cannot be shown again. None if it was
    /// sent.
    pub token: Option<String>,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: Option<u64>,
    /// Why it was not sent, though it was to be.
    pub failure: Option<String>,
}

impl Actions {
    /// What these lines would do. Nothing is changed.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn check_import(
        &self,
        by: &Administrator,
        rows: Vec<ImportedRow>,
    ) -> Result<Vec<RowReport>, AdministrationError> {
        by.must(Right::ImportPeople)?;
        let reaches = reaches_roles(by);
        Ok(self.accounts.check_import(rows, reaches).await?)
    }

    /// Does what these lines say, at most some hundreds of them: all in one commit, or nothing
    /// if one of them is bad; those that are good with `skips_bad`. The same lines again change
    /// nothing, so whoever was interrupted begins anew.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn import_people(
        &self,
        by: &Administrator,
        rows: Vec<ImportedRow>,
        skips_bad: bool,
    ) -> Result<Imported, AdministrationError> {
        by.must(Right::ImportPeople)?;
        let (act, reaches) = (by.act(), reaches_roles(by));
        let imported = match self.accounts.import(act, rows, reaches, skips_bad).await {
            Ok(rows) => Imported {
                is_applied: true,
                rows,
            },
            Err(ImportError::Refused(rows)) => Imported {
                is_applied: false,
                rows,
            },
            Err(error) => return Err(PeopleError::Import(error).into()),
        };
        if imported.is_applied {
            self.placements.notify_one();
            self.tell_renamed(&imported.rows).await?;
        }
        Ok(imported)
    }

    /// Tells the rooms of those who have another name now.
    async fn tell_renamed(&self, rows: &[RowReport]) -> Result<(), AdministrationError> {
        for row in rows {
            let is_renamed = match &row.outcome {
                accounts::RowOutcome::Changed(things) => {
                    things.iter().any(|thing| thing == "display_name")
                }
                _ => false,
            };
            if is_renamed {
                let found = self.user(&row.localpart).await?;
                let who = sender(&acting_as(&found));
                self.rooms.profile_changed(&who).await?;
            }
        }
        Ok(())
    }

    /// Invites people who have an account and no password to choose one: by e-mail where that
    /// is wanted and there is an address, by a token that is given back otherwise. Whoever has
    /// chosen a password is passed over.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invite_people(
        &self,
        by: &Administrator,
        users: &[String],
        expires_after_days: Option<u32>,
        by_mail: bool,
    ) -> Result<Vec<GivenInvitation>, AdministrationError> {
        by.must(Right::CreateInvitations)?;
        if by_mail && self.letters.get().is_none_or(|letters| !letters.are_on()) {
            return Err(PeopleError::NoLetters.into());
        }
        let mut serials = Vec::with_capacity(users.len());
        for user in users {
            let found = self.user(user).await?;
            by.must_reach(found.account.roles)?;
            serials.push(found.user);
        }
        let now = self.clock.now().0;
        let end = expires_after_days.map(|days| now.saturating_add(u64::from(days) * DAY));
        let invited = self
            .accounts
            .invite_people(by.act(), serials, end, by.user())
            .await?;
        log::info!(count = invited.len(); "people were invited to accounts made for them");
        let mut given = Vec::with_capacity(invited.len());
        let mut sent = Vec::new();
        for one in invited {
            let user = one.user;
            let one = self.give(one, end, by_mail).await;
            if one.sent_to.is_some() {
                sent.push(user);
            }
            given.push(one);
        }
        self.accounts.invitations_given(sent).await?;
        Ok(given)
    }

    async fn give(
        &self,
        one: PersonInvitation,
        end: Option<u64>,
        by_mail: bool,
    ) -> GivenInvitation {
        let mut given = GivenInvitation {
            user_id: one.user_id,
            display_name: one.display_name,
            sent_to: None,
            token: None,
            expires_at: end,
            failure: None,
        };
        let letters = self.letters.get().filter(|_| by_mail);
        let address = letters.and_then(|letters| letters.address());
        if let (Some(letters), Some(address), Some(to)) = (letters, address, one.email) {
            let words = Words {
                server: self.accounts.server_name().as_str(),
                user: given.user_id.as_str(),
                link: &format!("{address}/{PAGE}/{}", one.token),
                end,
            };
            match letters.write(words.invitation(&to)).await {
                Ok(()) => given.sent_to = Some(to),
                Err(error) => given.failure = Some(error.to_string()),
            }
        }
        given.token = given.sent_to.is_none().then_some(one.token);
        given
    }

    /// Notes that these people have their invitations: they are on paper, or on their way. Who
    /// is not noted gets another one the next time, and the one of now ends.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invitations_given(
        &self,
        by: &Administrator,
        users: &[String],
    ) -> Result<(), AdministrationError> {
        by.must(Right::CreateInvitations)?;
        let mut serials: Vec<UserSerial> = Vec::with_capacity(users.len());
        for user in users {
            serials.push(self.user(user).await?.user);
        }
        let noted: Result<(), StoreError> = self.accounts.invitations_given(serials).await;
        Ok(noted?)
    }
}

/// Whether they may change people who have a role.
fn reaches_roles(by: &Administrator) -> bool {
    by.must_reach([Role::Administrator].into_iter().collect())
        .is_ok()
}
