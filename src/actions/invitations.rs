//! Invitations to register, as administrators make and list them.

use accounts::{Invitation, NewInvitation};
use serde_json::{Value, json};

use crate::{Actions, AdministrationError, Administrator, Listed, Right};

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// An invitation that an administrator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedInvitation {
    /// How many accounts may be made with it; no limit if `None`.
    pub uses_allowed: Option<u32>,
    /// When it ends, in ms since the Unix epoch; never if `None`.
    pub expires_at: Option<u64>,
}

impl Actions {
    /// Makes an invitation, and gives its token, which cannot be shown again.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn make_invitation(
        &self,
        by: &Administrator,
        wanted: WantedInvitation,
    ) -> Result<String, AdministrationError> {
        by.must(Right::CreateInvitations)?;
        let new = NewInvitation {
            uses_allowed: wanted.uses_allowed,
            expires_at: wanted.expires_at,
            created_by: by.user(),
        };
        Ok(self.accounts.create_invitation(by.act(), new).await?)
    }

    /// All invitations, oldest first.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invitations(
        &self,
        by: &Administrator,
    ) -> Result<Vec<Invitation>, AdministrationError> {
        by.must(Right::ListInvitations)?;
        Ok(self.accounts.invitations().await?)
    }

    /// Invitations, the newest first, from the place `after` on, at most `limit`.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invitations_after(
        &self,
        by: &Administrator,
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<Invitation>, AdministrationError> {
        by.must(Right::ListInvitations)?;
        let found = self
            .accounts
            .invitations_after(after.as_deref(), limit)
            .await?;
        let (rows, next) = found;
        Ok(Listed { rows, next })
    }

    /// The invitation with a token or a name.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn invitation(
        &self,
        by: &Administrator,
        token_or_name: &str,
    ) -> Result<Option<Invitation>, AdministrationError> {
        by.must(Right::ListInvitations)?;
        Ok(self.accounts.invitation(token_or_name).await?)
    }

    pub(crate) async fn create_invitations(
        &self,
        by: &Administrator,
        uses: u32,
        expires_after_days: Option<u32>,
        count: u32,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CreateInvitations)?;
        let expires_at = expires_after_days.map(|days| self.clock.now().0 + u64::from(days) * DAY);
        let new = NewInvitation {
            uses_allowed: Some(uses),
            expires_at,
            created_by: by.user(),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let tokens = self
            .accounts
            .create_invitations(by.act(), new, count)
            .await?;
        log::info!(uses, count; "invitations made by an administrator");
        let made: Vec<Value> = tokens
            .iter()
            .map(|token| json!({ "token": token, "uses": uses, "expires_at": expires_at }))
            .collect();
        Ok(json!({ "invitations": made }))
    }

    pub(crate) async fn list_invitations(
        &self,
        by: &Administrator,
    ) -> Result<Value, AdministrationError> {
        let invitations = self.invitations(by).await?;
        let shown: Vec<Value> = invitations
            .iter()
            .map(|invitation| {
                json!({
                    "name": invitation.name,
                    "uses": invitation.uses,
                    "uses_allowed": invitation.uses_allowed,
                    "created_at": invitation.created_at,
                    "expires_at": invitation.expires_at,
                })
            })
            .collect();
        Ok(json!({ "invitations": shown }))
    }
}
