//! Application services as their registration files describe them: who they are, which
//! names are theirs.
//!
//! Place: the pure floor. It reads texts, not files, and sends nothing: `delivery` speaks
//! to services, `accounts` lets them act.
//!
//! Never here: an account, a request, a decision about a name that is not in a namespace.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod namespaces;
mod registration;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod set;
mod yaml;

pub use namespaces::{Namespace, Namespaces};
pub use registration::{Registration, RegistrationError};
pub use set::{ExclusiveError, Service, Services, ServicesError};
