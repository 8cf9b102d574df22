//! A room that a client follows closely: what little happened there since its last answer
//! is in memory, read and put into its form once for everybody.

use std::collections::BTreeSet;

use model::{EventSerial, MembershipRecord, RoomSerial};
use rooms::{NewsEvent, PlaceToken, ReceiptViewer, RoomNews};

use crate::{
    Sync, SyncError,
    json::{Composer, events, quoted, values},
    sections::{put_unread, receipt_events},
    v3::Question,
    window::Window,
};

/// What came of the attempt to tell a room from memory.
pub(crate) enum Followed {
    /// The room's id and part; `None` if nothing happened there.
    Told(Option<(String, String)>),
    /// The database must be read. Gives the typing event back.
    NeedsReading(Option<String>),
}

impl Sync {
    /// The part of a joined room that is not new to the client, if nothing but messages,
    /// receipts, typing and account data came, and few of them.
    pub(crate) fn followed_room(
        &self,
        question: &Question,
        window: &Window<'_>,
        (room, record): (RoomSerial, &MembershipRecord),
        typing: Option<String>,
        recounted: bool,
    ) -> Result<Followed, SyncError> {
        let since = window.since.filter(|since| record.last_join <= since.0);
        // A private receipt is no news of the room: only its user is told.
        let suits = suits(question) && !window.private_receipts.contains(&room);
        let Some(since) = since.filter(|_| suits) else {
            return Ok(Followed::NeedsReading(typing));
        };
        let Some(news) = window.news(room)?.filter(|news| is_plain(news)) else {
            return Ok(Followed::NeedsReading(typing));
        };
        if !question.rooms.allows_room(&news.room_id) {
            return Ok(Followed::Told(None));
        }
        let filter = &question.view.timeline;
        let ignored = window.ignored()?;
        let timeline: Vec<&NewsEvent> = news
            .events()
            .filter(|event| filter.allows(&event.event))
            .filter(|event| !ignored.has(event.change.sender))
            .collect();
        let hidden = news.events().count() > timeline.len();
        let is_sticky = |event: &NewsEvent| event.sticky_until > 0;
        // What is sticky is told even where the timeline leaves it out.
        let has_more = hidden && news.events().any(is_sticky);
        if timeline.len() > question.view.limit || has_more {
            return Ok(Followed::NeedsReading(typing));
        }
        let (receipts, own_receipt) = self.news_receipts(question, window, room, &news)?;
        let data = self.room_data(question, window, room, false)?;
        let quiet = timeline.is_empty() && !own_receipt && data.is_empty() && !recounted;
        if quiet && receipts.is_empty() && typing.is_none() {
            return Ok(Followed::Told(None));
        }
        let mut answer = Composer::object();
        self.put_speakers(question, window, room, &timeline, &mut answer)?;
        self.put_timeline(question, window, &timeline, &mut answer)?;
        let ephemeral: Vec<String> = receipts.into_iter().chain(typing).collect();
        answer
            .field("ephemeral", &events(&ephemeral))
            .field("account_data", &events(&data));
        let unread = self.inner.rooms.unread_of_member(
            window.snapshot,
            room,
            window.user,
            record,
            Some((since, &news)),
        )?;
        put_unread(question, &unread, &mut answer);
        Ok(Followed::Told(Some((
            news.room_id.to_string(),
            answer.finish(),
        ))))
    }

    fn put_timeline(
        &self,
        question: &Question,
        window: &Window<'_>,
        timeline: &[&NewsEvent],
        answer: &mut Composer,
    ) -> Result<(), SyncError> {
        let now = self.inner.clock.now().0;
        let mut shown = Vec::with_capacity(timeline.len());
        for event in timeline {
            shown.push(event.json(window.snapshot, question.viewer(), now)?);
        }
        let prev_batch = timeline.first().map_or(PlaceToken::END, |first| {
            PlaceToken::at(first.event.meta.depth, first.event.meta.tie_break)
        });
        let mut part = Composer::object();
        part.field("events", &values(&shown))
            .field("limited", "false")
            .field("prev_batch", &quoted(&prev_batch.to_string()));
        answer.field("timeline", &part.finish());
        Ok(())
    }

    /// The members who spoke, for a client that loads members as they speak.
    fn put_speakers(
        &self,
        question: &Question,
        window: &Window<'_>,
        room: RoomSerial,
        timeline: &[&NewsEvent],
        answer: &mut Composer,
    ) -> Result<(), SyncError> {
        let mut members = Vec::new();
        if question.view.lazy_members && !timeline.is_empty() {
            let reader = self.event_reader(question, window.snapshot, room)?;
            let mut told: BTreeSet<EventSerial> = BTreeSet::new();
            for event in timeline {
                let root = event.event.meta.state_before;
                let sender = event.event.sender();
                if let Some(serial) = reader.maps().get(root, "m.room.member", &sender)?
                    && told.insert(serial)
                    && let Some(member) = reader.load(serial)?
                    && question.view.state.allows(&member)
                {
                    members.push(reader.state_json(&member)?);
                }
            }
        }
        if question.view.state_after {
            answer.field("state_after", &events(&members));
        } else if !members.is_empty() {
            answer.field("state", &events(&members));
        }
        Ok(())
    }

    fn news_receipts(
        &self,
        question: &Question,
        window: &Window<'_>,
        room: RoomSerial,
        news: &RoomNews,
    ) -> Result<(Vec<String>, bool), SyncError> {
        let user = window.user;
        let own = news.receipts().any(|(whose, _, _)| *whose == user);
        if news.receipts().next().is_none() || !question.view.ephemeral.allows_type("m.receipt") {
            return Ok((Vec::new(), own));
        }
        let moved = news.receipts().cloned();
        let viewer = ReceiptViewer {
            user,
            ignored: window.ignored()?,
        };
        let receipts = rooms::receipts_of(window.snapshot, room, viewer, moved)?;
        Ok((receipt_events(&receipts.contents(window.snapshot)?), own))
    }
}

/// Whether the client wants what memory holds.
fn suits(question: &Question) -> bool {
    !question.view.full_state && question.view.fields.is_none()
}

/// Whether nothing happened that changes what was there before, and nothing is missing.
pub(crate) fn is_plain(news: &RoomNews) -> bool {
    let mut commits = news.commits.iter();
    !commits.any(|commit| commit.forked || commit.has_gap)
        && !news
            .events()
            .any(|event| event.is_state || event.event_type == "m.room.redaction")
}
