//! Registration with a shared secret: a program that knows it makes accounts, whoever may register otherwise (the protocol of
//! `/_synapse/admin/v1/register`).

use std::collections::{HashMap, VecDeque};

use audit::{Act, Who};
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Roles;
use sha1::Sha1;

use crate::{Accounts, NewAccount, RegisterError, Registered};

/// How long a nonce works, in ms.
const LIFETIME: u64 = 60 * 1_000;
/// How many nonces there may be; the oldest make room.
const NONCES: usize = 10_000;
/// The longest name, password and kind of user that a message authentication code is computed over, in bytes.
const MAX_FIELD_BYTES: usize = 1_024;
/// The kinds of user that programs may name. None of them is any different here.
const USER_TYPES: [&str; 2] = ["bot", "support"];

/// An account that a program wants to make.
#[derive(Clone, Default)]
pub struct SharedSecretRegistration {
    /// The nonce, from [`Accounts::registration_nonce`].
    pub nonce: String,
    /// The account; the code covers its name and its password, and both must be there.
    pub account: NewAccount,
    /// Whether the user administers the server.
    pub is_admin: bool,
    /// The kind of user, part of the code if it is there.
    pub user_type: Option<String>,
    /// HMAC-SHA1 with the secret over nonce, name, password, `admin` or `notadmin` and, if there is one, the kind of user, with a zero byte between
    /// them; in hexadecimal.
    pub mac: String,
}

/// Why a program did not make an account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SharedSecretError {
    /// The server has no shared secret (404 `M_UNRECOGNIZED`).
    #[error("there is no such endpoint")]
    Off,
    /// The nonce was never given out, was used before or is older than a minute (400 `M_UNKNOWN`).
    #[error("the nonce is unknown, was used before or is older than a minute")]
    UnknownNonce,
    /// A field cannot be what it says (400 `M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(&'static str),
    /// The code is not the one that the secret makes (403 `M_FORBIDDEN`).
    #[error("the message authentication code is wrong")]
    WrongMac,
    /// The account cannot be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// The nonces that were given out and not used. In memory only: after a restart programs ask for another.
#[derive(Default)]
pub(crate) struct Nonces {
    /// When each was given out.
    given: HashMap<String, u64>,
    /// The same, oldest first, used ones included.
    order: VecDeque<(u64, String)>,
}

impl Nonces {
    fn give(&mut self, nonce: String, now: u64) {
        while let Some((given, oldest)) = self.order.front() {
            if now < given + LIFETIME && self.order.len() < NONCES {
                break;
            }
            self.given.remove(oldest);
            self.order.pop_front();
        }
        self.given.insert(nonce.clone(), now);
        self.order.push_back((now, nonce));
    }

    /// Uses a nonce up; whether it was still good.
    fn take(&mut self, nonce: &str, now: u64) -> bool {
        let given = self.given.remove(nonce);
        given.is_some_and(|given| now < given + LIFETIME)
    }
}

impl Accounts {
    /// A nonce for one registration with the shared secret within a minute.
    ///
    /// # Errors
    /// [`SharedSecretError::Off`] without a secret.
    pub fn registration_nonce(&self) -> Result<String, SharedSecretError> {
        if self.inner.registration.shared_secret.is_empty() {
            return Err(SharedSecretError::Off);
        }
        let nonce = self.inner.random.token();
        self.inner.nonces.lock().give(nonce.clone(), self.now());
        Ok(nonce)
    }

    /// Makes an account for a program that knows the shared secret, whoever may register otherwise. The nonce is used up by any request that names it.
    ///
    /// # Errors
    /// [`SharedSecretError`]; then no account was made.
    pub async fn register_with_shared_secret(
        &self,
        wish: SharedSecretRegistration,
    ) -> Result<Registered, SharedSecretError> {
        let secret = &self.inner.registration.shared_secret;
        if secret.is_empty() {
            return Err(SharedSecretError::Off);
        }
        if !self.inner.nonces.lock().take(&wish.nonce, self.now()) {
            return Err(SharedSecretError::UnknownNonce);
        }
        let fields = checked(&wish)?;
        if !is_signed(secret.reveal(), &wish.nonce, &fields, &wish.mac) {
            return Err(SharedSecretError::WrongMac);
        }
        // Whoever has the secret has it from the operator.
        let from = wish.account.from.clone();
        let act = Act::of(Who::Operator, from);
        let roles = match wish.is_admin {
            true => Roles::ADMINISTRATOR,
            false => Roles::NONE,
        };
        Ok(self.create_account(&act, wish.account, roles).await?)
    }
}

/// What the code covers behind the nonce, in its order.
fn checked(wish: &SharedSecretRegistration) -> Result<Vec<&str>, SharedSecretError> {
    let invalid = SharedSecretError::Invalid;
    let username = wish.account.username.as_deref();
    let password = wish.account.password.as_deref();
    let mut fields = vec![
        username.ok_or(invalid("there is no user name"))?,
        password.ok_or(invalid("there is no password"))?,
        if wish.is_admin { "admin" } else { "notadmin" },
    ];
    if let Some(user_type) = wish.user_type.as_deref() {
        if !USER_TYPES.contains(&user_type) {
            return Err(invalid("the kind of user is bot, support or left out"));
        }
        fields.push(user_type);
    }
    // A zero byte within a field would let one code stand for several requests.
    if fields
        .iter()
        .any(|field| field.len() > MAX_FIELD_BYTES || field.contains('\0'))
    {
        return Err(invalid(
            "user name and password have at most 1024 bytes and no zero byte",
        ));
    }
    Ok(fields)
}

/// Whether `mac` is the code of these fields; takes as long whatever it is.
fn is_signed(secret: &str, nonce: &str, fields: &[&str], mac: &str) -> bool {
    let (Ok(mut hmac), Some(given)) = (
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()),
        from_hexadecimal(mac),
    ) else {
        return false;
    };
    hmac.update(nonce.as_bytes());
    for field in fields {
        hmac.update(&[0]);
        hmac.update(field.as_bytes());
    }
    hmac.verify_slice(&given).is_ok()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = digits?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_that_of_other_programs() {
        // printf 'n\0alice\0wonderland\0admin' | openssl dgst -sha1 -hmac shared
        let code = "c6d0366f36c5d630ea5008ca9f2044118939230c";
        let fields = ["alice", "wonderland", "admin"];
        assert!(is_signed("shared", "n", &fields, code));
        assert!(is_signed("shared", "n", &fields, &code.to_uppercase()));
        for (secret, nonce, fields, mac) in [
            ("other", "n", fields, code),
            ("shared", "m", fields, code),
            ("shared", "n", ["alice", "wonderland", "notadmin"], code),
            ("shared", "n", fields, ""),
            ("shared", "n", fields, &code[..38]),
            ("shared", "n", fields, &code[..39]),
            ("shared", "n", fields, "no hexadecimal"),
        ] {
            assert!(
                !is_signed(secret, nonce, &fields, mac),
                "{secret} {nonce} {fields:?} {mac}"
            );
        }
        // printf 'n\0alice\0wonderland\0notadmin\0bot' | openssl dgst -sha1 -hmac shared
        let code = "097b0c71fd39be8ba359257c5a65cf22673969e0";
        assert!(is_signed(
            "shared",
            "n",
            &["alice", "wonderland", "notadmin", "bot"],
            code
        ));
    }

    #[test]
    fn a_nonce_works_once_and_for_a_minute() {
        let mut nonces = Nonces::default();
        nonces.give("a".to_owned(), 1_000);
        nonces.give("b".to_owned(), 1_000);
        assert!(!nonces.take("c", 1_000));
        assert!(nonces.take("a", 60_999));
        assert!(!nonces.take("a", 60_999));
        assert!(!nonces.take("b", 61_000));
    }

    #[test]
    fn nonces_are_bounded_and_the_oldest_make_room() {
        let mut nonces = Nonces::default();
        for number in 0..=NONCES {
            nonces.give(number.to_string(), 1_000);
        }
        assert_eq!((nonces.given.len(), nonces.order.len()), (NONCES, NONCES));
        assert!(!nonces.take("0", 1_000));
        assert!(nonces.take("1", 1_000));
        assert!(nonces.take(&NONCES.to_string(), 1_000));
        // What is over is swept out with the next.
        nonces.give("late".to_owned(), 61_000);
        assert_eq!((nonces.given.len(), nonces.order.len()), (1, 1));
    }
}
