//! User-interactive authentication (client-server API, "User-Interactive Authentication API"): proving anew who one is, for one request.

use std::collections::{HashMap, VecDeque};

use model::{DeviceSerial, TokenHash, UserSerial};
use ruma_client_api::uiaa::{AuthData, AuthFlow, AuthType, UserIdentifier};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use store::StoreError;

use crate::{Accounts, EmailProof, LoginError, Session};

/// How long a conversation may take, in ms.
const LIFETIME: u64 = 10 * 60 * 1_000;
/// How many conversations there may be; the oldest make room.
const CONVERSATIONS: usize = 10_000;

/// What is to be done once the authentication has passed: it counts for this request alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    hash: [u8; 32],
}

impl Operation {
    /// The operation of a request. The body's `auth` does not belong to it, so that the request stays the same when it is made again with one.
    pub fn new(method: &str, path: &str, body: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        for part in [method, path] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        match serde_json::from_slice::<Map<String, Value>>(body) {
            Ok(mut body) => {
                body.remove("auth");
                hasher.update(Value::Object(body).to_string().as_bytes());
            }
            Err(_) => hasher.update(body),
        }
        Self {
            hash: hasher.finalize().into(),
        }
    }
}

/// How far an authentication has come.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The request may be done, once, now.
    Passed(Passed),
    /// The client is to go on (401).
    Challenge(Challenge),
}

/// What was proved.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// The invitation, if `m.login.registration_token` was one of the stages.
    pub invitation: Option<InvitationProof>,
    /// The confirmed address, if `m.login.email.identity` was one of the stages.
    pub email: Option<EmailProof>,
}

/// An invitation that was valid a moment ago. Using it decides.
#[derive(Clone, Debug)]
pub struct InvitationProof(pub(crate) TokenHash);

/// What the client is to do next: the body of the 401 answer.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The id of the conversation, to be sent with the next stage.
    pub session: String,
    /// Each way to pass.
    pub flows: Vec<AuthFlow>,
    /// The stages done.
    pub completed: Vec<AuthType>,
    /// What the client must know to do a stage: the policies that are to be accepted.
    pub params: Map<String, Value>,
    /// What was wrong with the stage that was tried.
    pub error: Option<ChallengeError>,
}

/// Why a stage was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not this user's password (`M_FORBIDDEN`).
    #[error("the user name or the password is wrong")]
    Forbidden,
    /// Not a valid invitation (`M_UNAUTHORIZED`).
    #[error("this invitation is not valid")]
    InvalidInvitation,
    /// Nobody has confirmed the e-mail address yet, or it was for something else
    /// (`M_UNAUTHORIZED`).
    #[error("this e-mail address has not been confirmed yet")]
    EmailNotConfirmed,
    /// A stage that none of the flows has (`M_UNRECOGNIZED`).
    #[error("this kind of authentication does not help here")]
    Unsupported,
    /// The conversation is over, or was about something else; a new one has begun (`M_UNKNOWN`).
    #[error("this authentication session is unknown, has expired or was for another request")]
    UnknownSession,
}

/// Why the authentication could not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UiaError {
    /// The user who asks names another one (403 `M_FORBIDDEN`).
    #[error("you can authenticate yourself only")]
    AnotherUser,
    /// Too many passwords wait to be checked; later it may work.
    #[error("too many passwords are checked at the same time")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who speaks: a user on a device, or nobody that is known yet.
type Speaker = Option<(UserSerial, DeviceSerial)>;

/// What a stage proved beyond itself.
#[derive(Clone, Copy, Default)]
struct Proofs {
    invitation: Option<TokenHash>,
    email: Option<EmailProof>,
}

#[derive(Clone)]
struct Conversation {
    speaker: Speaker,
    operation: Operation,
    completed: Vec<AuthType>,
    proofs: Proofs,
    began: u64,
}

/// The conversations under way. In memory only: after a restart clients begin anew.
#[derive(Default)]
pub(crate) struct Conversations {
    by_id: HashMap<String, Conversation>,
    /// The ids with their beginnings, oldest first, ended ones included.
    order: VecDeque<(u64, String)>,
}

impl Conversations {
    fn begin(&mut self, id: String, conversation: Conversation) {
        let now = conversation.began;
        while let Some((began, oldest)) = self.order.front() {
            if now < began + LIFETIME && self.order.len() < CONVERSATIONS {
                break;
            }
            self.by_id.remove(oldest);
            self.order.pop_front();
        }
        self.order.push_back((now, id.clone()));
        self.by_id.insert(id, conversation);
    }

    /// The conversation of that id, if this speaker may go on with it for this operation.
    fn resume(
        &mut self,
        id: &str,
        speaker: Speaker,
        operation: Operation,
        now: u64,
    ) -> Option<Conversation> {
        let known = self.by_id.get_mut(id)?;
        if now >= known.began + LIFETIME || known.speaker != speaker {
            return None;
        }
        // As long as nothing is proved nothing can be carried over: clients may ask
        // for the flows with an empty body and begin in earnest afterwards.
        if known.completed.is_empty() {
            known.operation = operation;
        }
        (known.operation == operation).then(|| known.clone())
    }

    fn complete(&mut self, id: &str, stage: AuthType, proofs: Proofs) {
        if let Some(known) = self.by_id.get_mut(id) {
            if !known.completed.contains(&stage) {
                known.completed.push(stage);
            }
            known.proofs = Proofs {
                invitation: proofs.invitation.or(known.proofs.invitation),
                email: proofs.email.or(known.proofs.email),
            };
        }
    }
}

impl Accounts {
    /// How a signed-in user proves who it is.
    pub fn account_flows(&self) -> Vec<AuthFlow> {
        vec![AuthFlow::new(vec![AuthType::Password])]
    }

    /// Takes one step of an authentication for `operation`. `session` is who asks, if that is known; `auth` what the client sent.
    ///
    /// A stage that fails leaves the conversation as it was. A wrong password is worth counting: see [`Challenge::error`].
    ///
    /// # Errors
    /// [`UiaError`].
    pub async fn authenticate_interactively(
        &self,
        flows: Vec<AuthFlow>,
        session: Option<&Session>,
        operation: Operation,
        auth: Option<&AuthData>,
    ) -> Result<Outcome, UiaError> {
        let speaker = session.map(|session| (session.user, session.device));
        let Some(auth) = auth else {
            return Ok(self.begin(flows, speaker, operation, None));
        };
        let id = match auth.session() {
            // Some clients know the stages and begin with one.
            None => self.begin_conversation(speaker, operation),
            Some(id) => id.to_owned(),
        };
        let resumed = self
            .inner
            .conversations
            .lock()
            .resume(&id, speaker, operation, self.now());
        if resumed.is_none() {
            let error = ChallengeError::UnknownSession;
            return Ok(self.begin(flows, speaker, operation, Some(error)));
        }
        let error = match self.try_stage(&flows, session, auth).await? {
            Ok(None) => None,
            Ok(Some((stage, proofs))) => {
                let mut conversations = self.inner.conversations.lock();
                conversations.complete(&id, stage, proofs);
                None
            }
            Err(error) => Some(error),
        };
        Ok(self.conclude(id, flows, speaker, operation, error))
    }

    /// Passed if one of the flows is complete; then the conversation is over.
    fn conclude(
        &self,
        id: String,
        flows: Vec<AuthFlow>,
        speaker: Speaker,
        operation: Operation,
        error: Option<ChallengeError>,
    ) -> Outcome {
        let mut conversations = self.inner.conversations.lock();
        // A stage may have taken its time, and another request with the same session
        // may have passed meanwhile: then this one has not.
        let Some(known) = conversations.resume(&id, speaker, operation, self.now()) else {
            drop(conversations);
            let error = error.unwrap_or(ChallengeError::UnknownSession);
            return self.begin(flows, speaker, operation, Some(error));
        };
        let is_complete = |flow: &AuthFlow| {
            flow.stages
                .iter()
                .all(|stage| known.completed.contains(stage))
        };
        if error.is_none() && flows.iter().any(is_complete) {
            conversations.by_id.remove(&id);
            return Outcome::Passed(Passed {
                invitation: known.proofs.invitation.map(InvitationProof),
                email: known.proofs.email,
            });
        }
        Outcome::Challenge(Challenge {
            session: id,
            completed: known.completed,
            params: self.policy_params(&flows),
            flows,
            error,
        })
    }

    fn begin_conversation(&self, speaker: Speaker, operation: Operation) -> String {
        let id = self.inner.random.token();
        let conversation = Conversation {
            speaker,
            operation,
            completed: Vec::new(),
            proofs: Proofs::default(),
            began: self.now(),
        };
        self.inner
            .conversations
            .lock()
            .begin(id.clone(), conversation);
        id
    }

    fn begin(
        &self,
        flows: Vec<AuthFlow>,
        speaker: Speaker,
        operation: Operation,
        error: Option<ChallengeError>,
    ) -> Outcome {
        Outcome::Challenge(Challenge {
            session: self.begin_conversation(speaker, operation),
            params: self.policy_params(&flows),
            flows,
            completed: Vec::new(),
            error,
        })
    }

    /// The policies for clients to show, if one of the flows has their acceptance as a stage
    /// (client-server API, "Terms of service at registration").
    fn policy_params(&self, flows: &[AuthFlow]) -> Map<String, Value> {
        let mut params = Map::new();
        if flows
            .iter()
            .any(|flow| flow.stages.contains(&AuthType::Terms))
        {
            let options = &self.inner.registration;
            let policy = |(name, url): (&String, &String)| {
                let shown = name.replace('_', " ");
                let policy = json!({
                    "version": options.policies_version,
                    "en": { "name": shown, "url": url },
                });
                (name.clone(), policy)
            };
            let policies: Map<String, Value> = options.policies.iter().map(policy).collect();
            params.insert("m.login.terms".to_owned(), json!({ "policies": policies }));
        }
        params
    }

    /// Tries a stage. The inner result is the completed stage with what else it proved, none if the client only asks how it stands.
    async fn try_stage(
        &self,
        flows: &[AuthFlow],
        session: Option<&Session>,
        auth: &AuthData,
    ) -> Result<Result<Option<(AuthType, Proofs)>, ChallengeError>, UiaError> {
        let Some(stage) = auth.auth_type() else {
            return Ok(Ok(None));
        };
        if !flows.iter().any(|flow| flow.stages.contains(&stage)) {
            return Ok(Err(ChallengeError::Unsupported));
        }
        let mut proofs = Proofs::default();
        match auth {
            AuthData::Dummy(_) | AuthData::Terms(_) => {}
            AuthData::Password(data) => {
                let password = data.password.clone();
                if !self
                    .is_password_of(session, &data.identifier, password)
                    .await?
                {
                    return Ok(Err(ChallengeError::Forbidden));
                }
            }
            AuthData::RegistrationToken(data) => {
                let Some(proof) = self.prove_invitation(&data.token).await? else {
                    return Ok(Err(ChallengeError::InvalidInvitation));
                };
                proofs.invitation = Some(proof.0);
            }
            AuthData::EmailIdentity(data) => {
                let creds = &data.thirdparty_id_creds;
                let proof = self
                    .prove_email(creds.sid.as_str(), creds.client_secret.as_str())
                    .await?;
                if proof.is_none() {
                    return Ok(Err(ChallengeError::EmailNotConfirmed));
                }
                proofs.email = proof;
            }
            _ => return Ok(Err(ChallengeError::Unsupported)),
        }
        Ok(Ok(Some((stage, proofs))))
    }

    /// Whether this is the password of the user who asks.
    ///
    /// # Errors
    /// [`UiaError::AnotherUser`] if another one is named.
    async fn is_password_of(
        &self,
        session: Option<&Session>,
        identifier: &UserIdentifier,
        password: String,
    ) -> Result<bool, UiaError> {
        let Some(session) = session else {
            return Ok(false);
        };
        let named = match identifier {
            UserIdentifier::Matrix(identifier) => self.typed_user_id(&identifier.user),
            UserIdentifier::Email(identifier) => self.user_of_email(&identifier.address).await?,
            _ => return Ok(false),
        };
        if named.as_ref() != Some(&session.user_id) {
            return Err(UiaError::AnotherUser);
        }
        match self
            .check_password(Some(session.user_id.clone()), password)
            .await
        {
            Ok(_) => Ok(true),
            Err(LoginError::Store(error)) => Err(error.into()),
            Err(LoginError::Busy) => Err(UiaError::Busy),
            Err(_) => Ok(false),
        }
    }
}
