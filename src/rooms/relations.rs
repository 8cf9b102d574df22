//! How events relate to each other (client-server API, "Forming relationships between
//! events"): the rows by which children are found, and their reading.
//!
//! A target is known by its id alone: children may come before it.

mod bundles;
mod edits;
mod index;
mod threads;
mod walk;

pub(crate) use bundles::{NewestBundled, bundle};
pub use edits::newest_edit;
pub(crate) use index::{RelationKeys, Tallies};
pub use threads::{ThreadsPage, ThreadsRequest};
pub(crate) use threads::{check_root, thread_of};
pub use walk::{RelationsPage, RelationsRequest};

use graph::Event;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// The relation of edits.
const REPLACE: &str = "m.replace";
/// The relation of what is said in a thread to the thread's root.
const THREAD: &str = "m.thread";
/// The relation that means nothing by itself.
const REFERENCE: &str = "m.reference";

/// How an event relates to another: `m.relates_to`.
#[derive(Deserialize, Default)]
pub(crate) struct Relation {
    /// The kind of relation.
    pub(crate) rel_type: Option<String>,
    /// The other event.
    pub(crate) event_id: Option<String>,
    /// With what an annotation annotates.
    pub(crate) key: Option<String>,
}

/// Of an event's content what tells a relation. Each part is read by itself: one of a
/// wrong shape says nothing about the others.
#[derive(Deserialize, Default)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.new_content")]
    new_content: Option<&'a RawValue>,
}

impl Relation {
    /// The relation of the event with this JSON; an empty one if it has none.
    pub(crate) fn of_event(json: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            content: Content<'a>,
        }
        let event: Option<Event<'_>> = serde_json::from_slice(json).ok();
        part(event.and_then(|event| event.content.relates_to))
    }

    /// The relation of the event with this content.
    pub(crate) fn of_content(json: &[u8]) -> Self {
        let content: Option<Content<'_>> = serde_json::from_slice(json).ok();
        part(content.and_then(|content| content.relates_to))
    }

    /// The event that an annotation is about, and its key.
    pub(crate) fn annotation(&self) -> Option<(String, String)> {
        let is_annotation = self.rel_type.as_deref() == Some("m.annotation");
        let (event_id, key) = (self.event_id.clone()?, self.key.clone()?);
        is_annotation.then_some((event_id, key))
    }

    /// Whether it is an edit.
    pub(crate) fn is_edit(&self) -> bool {
        self.rel_type.as_deref() == Some(REPLACE)
    }

    /// The kind of relation and the target; none for what is no relation, a rich reply
    /// for instance.
    fn parts(self) -> Option<(String, String)> {
        Some((self.rel_type?, self.event_id?))
    }
}

/// Whether an event may relate to another: known without reading its JSON, in which no
/// letter of a name can be written otherwise.
pub(crate) fn relates(event: &Event) -> bool {
    event.content().get().contains("\"m.relates_to\"")
}

/// JSON of a type, or what there is without it.
pub(crate) fn part<T: DeserializeOwned + Default>(part: Option<&RawValue>) -> T {
    part.and_then(|part| serde_json::from_str(part.get()).ok())
        .unwrap_or_default()
}
