//! Sticky events beside the timelines of `/sync` (MSC4354, under its unstable prefix).

use model::EventSerial;
use rooms::sticky_since;

use crate::{
    Sync, SyncError,
    json::{Composer, events},
    room::{RoomReader, Timeline},
};

/// The section of a room.
const SECTION: &str = "msc4354_sticky";

impl Sync {
    /// `msc4354_sticky`: what is sticky and came since, but for what the timeline shows.
    /// Returns whether there is any.
    pub(crate) fn put_sticky(
        &self,
        reader: &RoomReader<'_>,
        timeline: &Timeline,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let now = self.inner.clock.now().0;
        let view = reader.reader.view;
        let mut sticky = sticky_since(view, reader.reader.room, reader.since, now)?;
        sticky.retain(|(_, serial)| {
            let shown = timeline.events.iter();
            shown
                .map(|event| event.serial)
                .all(|shown| shown != *serial)
        });
        let serials: Vec<EventSerial> = sticky.into_iter().map(|(_, serial)| serial).collect();
        let told = reader.reader.sticky_json(&serials)?;
        if told.is_empty() {
            return Ok(false);
        }
        answer.field(SECTION, &events(&told));
        Ok(true)
    }
}
