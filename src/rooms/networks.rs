//! The directories of other networks, which application services lead to (application
//! service API, "Published room directories").

use model::tables;
use ruma_common::RoomId;

use crate::{AppendError, Rooms};

/// The longest id of a network, in bytes.
const MAX_NETWORK_BYTES: usize = 255;

impl Rooms {
    /// The name of a network of a service on this server: `instance_id` of its protocols,
    /// `third_party_instance_id` of searches.
    pub fn network_instance(service: &str, network: &str) -> String {
        format!("{service}|{network}")
    }

    /// Puts a room into the list of a service's network, or takes it out. Which rooms stand
    /// there is for the service alone to say.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] for an unknown room; [`AppendError::Invalid`] for a network
    /// with too long a name.
    pub async fn set_published_in_network(
        &self,
        service: &str,
        network: &str,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), AppendError> {
        if network.len() > MAX_NETWORK_BYTES {
            return Err(AppendError::Invalid(format!(
                "the id of a network has at most {MAX_NETWORK_BYTES} bytes"
            )));
        }
        let room = self.room(room_id).await.map_err(|error| match error {
            AppendError::UnknownRoom => {
                AppendError::NotFound(format!("{room_id} is not known here"))
            }
            other => other,
        })?;
        let key = (Self::network_instance(service, network), room);
        self.store()
            .commit(move |_, _, batch| {
                if published {
                    batch.put(&tables::PUBLISHED_ROOM_BY_NETWORK, &key, &());
                } else {
                    batch.delete(&tables::PUBLISHED_ROOM_BY_NETWORK, &key);
                }
                Ok(())
            })
            .await
    }
}
