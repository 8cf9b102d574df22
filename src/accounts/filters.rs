//! Filters: what a client wants to see of a sync, stored under a number.

use model::{
    UserSerial,
    tables::{FILTER_BY_HASH, FILTER_BY_USER},
};
use ruma_client_api::filter::FilterDefinition;
use sha2::{Digest as _, Sha256};
use store::{Read, StoreError};

use crate::Accounts;

/// The largest filter, in bytes.
const MAX_BYTES: usize = 64 * 1_024;
/// The most filters of one user.
const MAX_FILTERS: u64 = 1_000;

/// Why a filter was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FilterError {
    /// Not a filter (`M_BAD_JSON`).
    #[error("this is not a filter: {0}")]
    Invalid(String),
    /// Too large (`M_TOO_LARGE`).
    #[error("a filter has at most 65536 bytes")]
    TooLarge,
    /// The user has as many as one may have.
    #[error("this user has too many filters")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user's filter as JSON, for that user alone. `filter_id` is what [`Accounts::create_filter`] gave.
///
/// # Errors
/// If the database fails.
pub fn filter(
    view: &impl Read,
    user: UserSerial,
    filter_id: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    match filter_id.parse::<u64>() {
        Ok(number) => view.get(&FILTER_BY_USER, &(user, number)),
        Err(_) => Ok(None),
    }
}

impl Accounts {
    /// Stores a filter and returns its id; the same filter keeps its id.
    ///
    /// # Errors
    /// [`FilterError`].
    pub async fn create_filter(
        &self,
        user: UserSerial,
        json: &[u8],
    ) -> Result<String, FilterError> {
        if json.len() > MAX_BYTES {
            return Err(FilterError::TooLarge);
        }
        serde_json::from_slice::<FilterDefinition>(json)
            .map_err(|error| FilterError::Invalid(error.to_string()))?;
        let (json, hash) = (json.to_vec(), Sha256::digest(json).into());
        let number = self
            .store()
            .commit(move |latest, _, batch| {
                if let Some(number) = latest.get(&FILTER_BY_HASH, &(user, hash))? {
                    return Ok(number);
                }
                let last = latest.scan_back(&FILTER_BY_USER, &(user,), None).next();
                let number = last.transpose()?.map_or(1, |((_, number), _)| number + 1);
                if number > MAX_FILTERS {
                    return Err(FilterError::TooMany);
                }
                batch.put(&FILTER_BY_USER, &(user, number), &json);
                batch.put(&FILTER_BY_HASH, &(user, hash), &number);
                Ok(number)
            })
            .await?;
        Ok(number.to_string())
    }
}
