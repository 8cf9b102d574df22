//! What accounts refuse.

use accounts::{
    AcceptError, AccountDataError, AdministrationError, AuthenticateError, Barrier, Challenge,
    ChallengeError, ChangePasswordError, ConfirmationError, ConsoleError, CrossSigningError,
    DehydratedDeviceError, DeviceError, EmailError, FilterError, InvitationError, KeyBackupError,
    LoginError, PasswordError, ProfileError, PushRuleError, PusherError, RefreshError,
    RegisterError, SharedSecretError, ToDeviceError, UiaError, UploadKeysError, UsernameError,
};
use http::StatusCode;
use ruma_common::{api::error::ErrorCode, push::InsertPushRuleError};
use serde_json::json;
use services::ExclusiveError;

use super::sentence;
use crate::ApiError;

const BAD: StatusCode = StatusCode::BAD_REQUEST;
const TOO_LARGE: StatusCode = StatusCode::PAYLOAD_TOO_LARGE;

/// Client-server API, "Account locking": the client keeps its keys. So it is with an account
/// that has ended: once it is renewed, everything is there.
impl From<Barrier> for ApiError {
    fn from(barrier: Barrier) -> Self {
        let refused = |text: String| {
            Self::new(StatusCode::UNAUTHORIZED, ErrorCode::UserLocked, text)
                .with("soft_logout", true)
        };
        match barrier {
            Barrier::Locked(None) => refused("This account is locked.".to_owned()),
            Barrier::Locked(Some(why)) => refused(format!("This account is locked: {why}")),
            Barrier::Expired(at) => refused(
                "This account has expired. An administrator can renew it; nothing is lost."
                    .to_owned(),
            )
            .with("cairn.expired_at", at),
        }
    }
}

/// Client-server API, "Account suspension".
pub(super) fn suspended(text: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, ErrorCode::UserSuspended, text)
}

/// ruma has no name for this code.
fn invalid_signature(text: String) -> ApiError {
    ApiError::new(BAD, ErrorCode::from("M_INVALID_SIGNATURE"), text)
}

impl From<AuthenticateError> for ApiError {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::UnknownToken { soft_logout } => Self::unknown_token(soft_logout),
            AuthenticateError::Barred(barrier) => barrier.into(),
            AuthenticateError::NotTheirs(_) => Self::forbidden(sentence(&error)),
            AuthenticateError::UnknownDevice => {
                Self::new(BAD, ErrorCode::UnknownDevice, sentence(&error))
            }
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let text = sentence(&error);
        match error {
            LoginError::Forbidden => Self::forbidden(text),
            LoginError::Deactivated => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::UserDeactivated, text)
            }
            LoginError::Barred(barrier) => barrier.into(),
            LoginError::NotTheirs => Self::new(BAD, ErrorCode::Exclusive, text),
            LoginError::Device(error) => error.into(),
            LoginError::Busy => Self::unavailable(text),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<ExclusiveError> for ApiError {
    fn from(error: ExclusiveError) -> Self {
        Self::new(BAD, ErrorCode::Exclusive, sentence(&error))
    }
}

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::UnknownToken => Self::unknown_token(false),
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        let text = sentence(&error);
        match error {
            RegisterError::Username(error) => error.into(),
            RegisterError::Password(error) => error.into(),
            RegisterError::Profile(error) => error.into(),
            RegisterError::PasswordMissing => Self::missing_param(text),
            RegisterError::Closed
            | RegisterError::Invitation
            | RegisterError::NoGuests
            | RegisterError::NotAGuest => Self::forbidden(text),
            RegisterError::Email(error) => error.into(),
            RegisterError::Device(error) => error.into(),
            RegisterError::Busy => Self::unavailable(text),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let text = sentence(&error);
        match error {
            AcceptError::Invitation => Self::forbidden(text),
            AcceptError::Password(error) => error.into(),
            AcceptError::Busy => Self::unavailable(text),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl From<SharedSecretError> for ApiError {
    fn from(error: SharedSecretError) -> Self {
        let text = sentence(&error);
        match error {
            SharedSecretError::Off => Self::unrecognized(),
            SharedSecretError::UnknownNonce => Self::new(BAD, ErrorCode::Unknown, text),
            SharedSecretError::Invalid(_) => Self::invalid_param(text),
            SharedSecretError::WrongMac => Self::forbidden(text),
            SharedSecretError::Register(error) => error.into(),
        }
    }
}

impl From<UsernameError> for ApiError {
    fn from(error: UsernameError) -> Self {
        let text = sentence(&error);
        match error {
            UsernameError::Invalid => Self::new(BAD, ErrorCode::InvalidUsername, text),
            UsernameError::Taken => Self::new(BAD, ErrorCode::UserInUse, text),
            UsernameError::Exclusive(error) => error.into(),
            UsernameError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        let text = sentence(&error);
        match error {
            PasswordError::TooShort { .. } => Self::new(BAD, ErrorCode::WeakPassword, text),
            PasswordError::TooLong => Self::invalid_param(text),
        }
    }
}

impl From<ChangePasswordError> for ApiError {
    fn from(error: ChangePasswordError) -> Self {
        let text = sentence(&error);
        match error {
            ChangePasswordError::Password(error) => error.into(),
            ChangePasswordError::NoAccount => Self::not_found(text),
            ChangePasswordError::NotConfirmed => Self::forbidden(text),
            ChangePasswordError::Busy => Self::unavailable(text),
            ChangePasswordError::Store(error) => error.into(),
        }
    }
}

impl From<ConfirmationError> for ApiError {
    fn from(error: ConfirmationError) -> Self {
        let text = sentence(&error);
        match error {
            ConfirmationError::Address => Self::invalid_param(text),
            ConfirmationError::InUse => Self::new(BAD, ErrorCode::ThreepidInUse, text),
            ConfirmationError::NotFound => Self::new(BAD, ErrorCode::ThreepidNotFound, text),
            ConfirmationError::Store(error) => error.into(),
        }
    }
}

impl From<EmailError> for ApiError {
    fn from(error: EmailError) -> Self {
        let text = sentence(&error);
        match error {
            EmailError::NotConfirmed => Self::new(BAD, ErrorCode::ThreepidAuthFailed, text),
            EmailError::InUse => Self::new(BAD, ErrorCode::ThreepidInUse, text),
            EmailError::TooMany => Self::forbidden(text),
            EmailError::Store(error) => error.into(),
        }
    }
}

impl From<UiaError> for ApiError {
    fn from(error: UiaError) -> Self {
        match error {
            UiaError::AnotherUser => Self::forbidden(sentence(&error)),
            UiaError::Busy => Self::unavailable(error),
            UiaError::Store(error) => error.into(),
        }
    }
}

/// The next step of a user-interactive authentication: 401 with `flows`,
/// `params`, `session`, `completed`, and what was wrong with the step before.
impl From<Challenge> for ApiError {
    fn from(challenge: Challenge) -> Self {
        let errcode = challenge.error.map(|error| match error {
            ChallengeError::Forbidden => ErrorCode::Forbidden,
            ChallengeError::InvalidInvitation | ChallengeError::EmailNotConfirmed => {
                ErrorCode::Unauthorized
            }
            ChallengeError::Unsupported => ErrorCode::Unrecognized,
            ChallengeError::UnknownSession => ErrorCode::Unknown,
        });
        let text = challenge.error.map(|error| sentence(&error));
        Self::step(errcode, text.unwrap_or_default())
            .with("flows", json!(challenge.flows))
            .with("params", challenge.params)
            .with("session", challenge.session)
            .with("completed", json!(challenge.completed))
    }
}

impl From<DeviceError> for ApiError {
    fn from(error: DeviceError) -> Self {
        let text = sentence(&error);
        match error {
            DeviceError::NotFound => Self::not_found(text),
            DeviceError::InvalidId | DeviceError::NameTooLong => Self::invalid_param(text),
            DeviceError::IsKeyId | DeviceError::TooMany => Self::forbidden(text),
            DeviceError::Store(error) => error.into(),
        }
    }
}

impl From<UploadKeysError> for ApiError {
    fn from(error: UploadKeysError) -> Self {
        let text = sentence(&error);
        match error {
            UploadKeysError::Invalid(_) => Self::invalid_param(text),
            UploadKeysError::Malformed(_) => Self::new(BAD, ErrorCode::BadJson, text),
            UploadKeysError::InvalidSignature(_) => invalid_signature(text),
            UploadKeysError::KeyExists(_) => Self::new(BAD, ErrorCode::Unknown, text),
            UploadKeysError::TooMany { .. } => Self::forbidden(text),
            UploadKeysError::Deviceless => Self::missing_param(text),
            // Its token died with it.
            UploadKeysError::NoDevice => Self::unknown_token(false),
            UploadKeysError::Store(error) => error.into(),
        }
    }
}

impl From<CrossSigningError> for ApiError {
    fn from(error: CrossSigningError) -> Self {
        let text = sentence(&error);
        match error {
            CrossSigningError::Invalid(_) => Self::invalid_param(text),
            CrossSigningError::InvalidSignature(_) => invalid_signature(text),
            CrossSigningError::MissingMaster => Self::missing_param(text),
            // Who asks for the authentication first never sees the second of these.
            CrossSigningError::KeyIdInUse | CrossSigningError::AuthenticationRequired => {
                Self::forbidden(text)
            }
            CrossSigningError::Contended => Self::unavailable(text),
            CrossSigningError::Store(error) => error.into(),
        }
    }
}

impl From<KeyBackupError> for ApiError {
    fn from(error: KeyBackupError) -> Self {
        let text = sentence(&error);
        match error {
            KeyBackupError::NotFound | KeyBackupError::KeyNotFound => Self::not_found(text),
            KeyBackupError::WrongVersion { current } => {
                let errcode = ErrorCode::from("M_WRONG_ROOM_KEYS_VERSION");
                Self::new(StatusCode::FORBIDDEN, errcode, text).with("current_version", current)
            }
            KeyBackupError::Invalid(_) => Self::invalid_param(text),
            KeyBackupError::BadJson(_) => Self::bad_json(text),
            KeyBackupError::TooLarge(_) => Self::new(TOO_LARGE, ErrorCode::TooLarge, text),
            KeyBackupError::TooMany => Self::forbidden(text),
            KeyBackupError::Contended => Self::unavailable(text),
            KeyBackupError::Store(error) => error.into(),
        }
    }
}

impl From<DehydratedDeviceError> for ApiError {
    fn from(error: DehydratedDeviceError) -> Self {
        let text = sentence(&error);
        match error {
            DehydratedDeviceError::NotFound => Self::not_found(text),
            DehydratedDeviceError::NotDehydrated => Self::forbidden(text),
            DehydratedDeviceError::IdInUse | DehydratedDeviceError::InvalidToken => {
                Self::invalid_param(text)
            }
            DehydratedDeviceError::InvalidData => Self::bad_json(text),
            DehydratedDeviceError::TooLarge => Self::new(TOO_LARGE, ErrorCode::TooLarge, text),
            DehydratedDeviceError::Device(error) => error.into(),
            DehydratedDeviceError::Keys(error) => error.into(),
            DehydratedDeviceError::Store(error) => error.into(),
        }
    }
}

impl From<ToDeviceError> for ApiError {
    fn from(error: ToDeviceError) -> Self {
        let text = sentence(&error);
        match error {
            ToDeviceError::NotAnObject => Self::bad_json(text),
            ToDeviceError::TooLarge(_) => Self::new(TOO_LARGE, ErrorCode::TooLarge, text),
            ToDeviceError::Store(error) => error.into(),
        }
    }
}

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        let text = sentence(&error);
        match error {
            ProfileError::InvalidName => Self::invalid_param(text),
            ProfileError::NameTooLarge => Self::new(BAD, ErrorCode::KeyTooLarge, text),
            ProfileError::InvalidValue(_) => Self::bad_json(text),
            ProfileError::TooLarge => Self::new(BAD, ErrorCode::ProfileTooLarge, text),
            ProfileError::NotFound => Self::not_found(text),
            ProfileError::Suspended => suspended(text),
            ProfileError::Guest => Self::forbidden(text),
            ProfileError::Store(error) => error.into(),
        }
    }
}

impl From<AccountDataError> for ApiError {
    fn from(error: AccountDataError) -> Self {
        let text = sentence(&error);
        match error {
            // The specification's own status for it.
            AccountDataError::ServerControlled => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadJson, text)
            }
            AccountDataError::NotAnObject => Self::bad_json(text),
            AccountDataError::InvalidType => Self::invalid_param(text),
            AccountDataError::TooLarge => Self::new(TOO_LARGE, ErrorCode::TooLarge, text),
            AccountDataError::NotFound => Self::not_found(text),
            AccountDataError::Store(error) => error.into(),
        }
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        let text = sentence(&error);
        match error {
            FilterError::Invalid(_) => Self::bad_json(text),
            FilterError::TooLarge => Self::new(TOO_LARGE, ErrorCode::TooLarge, text),
            FilterError::TooMany => Self::forbidden(text),
            FilterError::Store(error) => error.into(),
        }
    }
}

impl From<PushRuleError> for ApiError {
    fn from(error: PushRuleError) -> Self {
        let text = sentence(&error);
        match error {
            PushRuleError::NotFound | PushRuleError::NoAccount => Self::not_found(text),
            PushRuleError::Insert(InsertPushRuleError::UnknownRuleId) => {
                Self::new(BAD, ErrorCode::Unknown, text)
            }
            PushRuleError::ServerDefault | PushRuleError::Insert(_) | PushRuleError::TooLong => {
                Self::invalid_param(text)
            }
            PushRuleError::TooMany => Self::forbidden(text),
            PushRuleError::Contended => Self::unavailable(text),
            PushRuleError::Store(error) => error.into(),
        }
    }
}

impl From<PusherError> for ApiError {
    fn from(error: PusherError) -> Self {
        let text = sentence(&error);
        match error {
            PusherError::Length { .. } | PusherError::Url => Self::invalid_param(text),
            PusherError::TooMany => Self::forbidden(text),
            // Its token died with it.
            PusherError::NoDevice => Self::unknown_token(false),
            PusherError::Store(error) => error.into(),
        }
    }
}

impl From<ConsoleError> for ApiError {
    fn from(error: ConsoleError) -> Self {
        let text = sentence(&error);
        match error {
            ConsoleError::Login(error) => error.into(),
            ConsoleError::NoRole | ConsoleError::Ended | ConsoleError::Code => {
                Self::forbidden(text)
            }
            ConsoleError::TooManyTries { wait } => {
                Self::limit_exceeded(std::time::Duration::from_millis(wait))
            }
            ConsoleError::NotFound => Self::not_found(text),
            ConsoleError::Passkey(_)
            | ConsoleError::TooLate
            | ConsoleError::LastFactor
            | ConsoleError::TooMany
            | ConsoleError::Known
            | ConsoleError::Name => Self::invalid_param(text),
            ConsoleError::Sealed => Self::internal(text),
            ConsoleError::Store(error) => error.into(),
        }
    }
}

impl From<InvitationError> for ApiError {
    fn from(error: InvitationError) -> Self {
        match error {
            InvitationError::NotFound => Self::not_found(sentence(&error)),
            InvitationError::TooMany => Self::invalid_param(sentence(&error)),
            InvitationError::Store(error) => error.into(),
        }
    }
}

impl From<AdministrationError> for ApiError {
    fn from(error: AdministrationError) -> Self {
        let text = sentence(&error);
        match error {
            AdministrationError::NotFound => Self::not_found(text),
            AdministrationError::Deactivated => Self::new(BAD, ErrorCode::UserDeactivated, text),
            AdministrationError::Store(error) => error.into(),
        }
    }
}
