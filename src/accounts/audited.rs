//! What the audit trail is told of accounts.

use audit::{Act, Deed, Verb};
use model::UserSerial;
use store::{Read, StoreError};

/// Something that was done to an account.
///
/// # Errors
/// If the database fails.
pub(crate) fn deed(
    view: &impl Read,
    act: &Act,
    verb: Verb,
    user: UserSerial,
) -> Result<Deed, StoreError> {
    let user_id = model::user_id(view, user)?.unwrap_or_default();
    Ok(act.did(verb).on(user_id))
}
