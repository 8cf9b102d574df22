//! The one way in which this server sends e-mail: over the relay that the operator names.
//!
//! Place: the ground floor, above `outgoing`, whose resolver and certificate authorities it
//! uses. Knows no Matrix.
//!
//! - [`MailOptions`] name the relay; without one there is no [`Mailer`].
//! - A [`Letter`] is a text for one person. [`Mailer::send`] returns when the relay has taken
//!   it, which is all that can be known.
//!
//! Never here: a letter that nobody asked for, a relay whose certificate is not verified
//! where TLS is asked for, an address in the log.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod letter;
mod options;
mod relay;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;

pub use letter::Letter;
pub use options::{MailOptions, MailTls, OptionMistake};
pub use relay::{MailError, Mailer, MailerParts, NewMailerError};
