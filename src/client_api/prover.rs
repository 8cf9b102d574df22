//! User-interactive authentication for handlers: one step of it, with the limits on
//! guessing.

use accounts::{Accounts, ChallengeError, EmailProof, Operation, Outcome, Passed, Session};
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use ruma_client_api::uiaa::{AuthData, AuthFlow};
use web::{ApiError, Limits, Origin};

/// Lets the caller of an endpoint prove who it is before something is done.
pub(crate) struct Prover {
    accounts: Accounts,
    limits: Limits,
    origin: Origin,
}

impl<S> FromRequestParts<S> for Prover
where
    Accounts: FromRef<S>,
    Limits: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            accounts: Accounts::from_ref(state),
            limits: Limits::from_ref(state),
            origin: Origin::from_request_parts(parts, state).await?,
        })
    }
}

impl Prover {
    /// Passes when the signed-in user has proved anew who it is. An application service
    /// has done so with its token (application service API, "Device management").
    ///
    /// # Errors
    /// 401 with the next step; 429 for who guesses too often.
    pub(crate) async fn user(
        &self,
        session: &Session,
        operation: Operation,
        auth: Option<&AuthData>,
    ) -> Result<(), ApiError> {
        if session.service.is_some() {
            return Ok(());
        }
        let flows = self.accounts.account_flows();
        let passed = self.step(flows, Some(session), operation, auth).await;
        passed.map(|_| ())
    }

    /// Passes when somebody without an account has proved that they may register.
    ///
    /// # Errors
    /// 401 with the next step; 429 for who guesses too often.
    pub(crate) async fn newcomer(
        &self,
        operation: Operation,
        auth: Option<&AuthData>,
    ) -> Result<Passed, ApiError> {
        let flows = self.accounts.registration_flows();
        self.step(flows, None, operation, auth).await
    }

    /// Passes when somebody has confirmed an e-mail address of the account whose password they
    /// have forgotten.
    ///
    /// # Errors
    /// 401 with the next step, or `M_MISSING_TOKEN` where there is no such way.
    pub(crate) async fn forgetful(
        &self,
        operation: Operation,
        auth: Option<&AuthData>,
    ) -> Result<EmailProof, ApiError> {
        let flows = self.accounts.reset_flows();
        if flows.is_empty() {
            return Err(ApiError::missing_token());
        }
        let passed = self.step(flows, None, operation, auth).await?;
        passed.email.ok_or_else(ApiError::missing_token)
    }

    async fn step(
        &self,
        flows: Vec<AuthFlow>,
        session: Option<&Session>,
        operation: Operation,
        auth: Option<&AuthData>,
    ) -> Result<Passed, ApiError> {
        let address = self.origin.address;
        let guessed = match (auth, session) {
            (Some(AuthData::Password(_)), Some(session)) => Some(session.user_id.to_string()),
            // Nobody's invitations: only the address has a limit of its own.
            (Some(AuthData::RegistrationToken(_)), _) => Some(address.to_string()),
            _ => None,
        };
        let attempt = guessed
            .map(|who| self.limits.sign_in(address, &who))
            .transpose()?;
        let outcome = self
            .accounts
            .authenticate_interactively(flows, session, operation, auth)
            .await;
        if let Some(attempt) = attempt
            && !is_wrong(&outcome)
        {
            attempt.succeeded();
        }
        match outcome? {
            Outcome::Passed(passed) => Ok(passed),
            Outcome::Challenge(challenge) => Err(challenge.into()),
        }
    }
}

/// Whether a secret was guessed wrong.
fn is_wrong<E>(outcome: &Result<Outcome, E>) -> bool {
    let Ok(Outcome::Challenge(challenge)) = outcome else {
        return false;
    };
    matches!(
        challenge.error,
        Some(ChallengeError::Forbidden | ChallengeError::InvalidInvitation)
    )
}
