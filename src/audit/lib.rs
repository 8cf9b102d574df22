//! The audit trail: who did what, from where, on whom, with what before and after, and why.
//!
//! Place: the domain floor. It stands on `model`, `graph`, `store` and `runtime`; the other
//! domains write into it by [`record`], in the commit of what they tell.
//!
//! An entry is one line of JSON. It names the SHA-256 of the line before, so that no line can be
//! changed, left out or put in between without the next one showing it; whoever has noted the
//! hash of one line somewhere else can prove all that came before it ([`verify()`]).
//!
//! - [`Verb`]: everything that the trail tells of; a closed list.
//! - [`record`]: writing; [`find`]: reading; [`statement`] and [`check_file`]: a signed copy.
//! - [`begin`] and [`follow`]: memberships and power levels, written behind the log, so that nobody who joins a
//!   room waits for it.
//! - [`Failures`]: sign-ins that failed, bounded, whoever tries.
//!
//! Never here: a password, a token, a message; an entry changed or removed.

mod entry;
mod export;
mod failures;
mod follow;
mod search;
mod trail;
mod verb;
mod verify;

#[cfg(test)]
mod tests;

pub use entry::{Act, Deed, Entry, Who};
pub use export::{CheckedFile, FileError, check_file, statement};
pub use failures::Failures;
pub use follow::{begin, follow, has_followed};
pub use search::{Filter, Found, find, line, lines_after};
pub use trail::{head, hexadecimal, parse_hash, record};
pub use verb::Verb;
pub use verify::{Broken, Verified, verify};
