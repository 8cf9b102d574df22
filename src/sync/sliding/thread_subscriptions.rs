//! Threads that the user follows, as an extension of sliding syncs (MSC4308, under its
//! unstable prefix).

use rooms::changed_subscriptions;
use serde::{Deserialize, Deserializer};

use super::{Asking, known::Known};
use crate::{
    Sync, SyncError,
    json::Composer,
    thread_subscriptions::{subscriptions_end, subscriptions_json},
};

const EXTENSION: &str = "io.element.msc4308.thread_subscriptions";
/// How many changes one answer tells, unless fewer are asked for.
const MOST: usize = 100;

/// Whether and how changes of thread subscriptions are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SubscriptionsRequest {
    /// Whether they are.
    #[serde(default, deserialize_with = "or_false")]
    pub enabled: bool,
    /// At most so many at once.
    #[serde(default)]
    pub limit: Option<u64>,
}

fn or_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Sync {
    /// The newest changes since the answer before, and where the older ones are found.
    /// Returns whether there are any.
    pub(crate) fn extend_subscriptions(
        &self,
        asking: &Asking<'_>,
        request: &SubscriptionsRequest,
        known: &mut Known,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(MOST).clamp(1, MOST);
        let snapshot = asking.snapshot;
        let user = asking.question.session.user;
        let since = asking.before.and_then(|before| before.subscriptions);
        known.subscriptions = Some(snapshot.position());
        let page = changed_subscriptions(snapshot, user, since, None, limit)?;
        let fields = subscriptions_json(snapshot, &page)?;
        if fields.is_empty() {
            return Ok(false);
        }
        let mut part = Composer::object();
        for (name, json) in &fields {
            part.field(name, json);
        }
        if let Some(end) = page.end {
            let epoch = self.inner.store.epoch();
            part.field("prev_batch", &subscriptions_end(epoch, end));
        }
        answer.field(EXTENSION, &part.finish());
        Ok(true)
    }
}
