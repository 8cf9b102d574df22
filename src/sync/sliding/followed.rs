//! A room that a client follows closely, told from memory where nothing but messages,
//! receipts and the like came, and few of them: as `crate::followed` does for `/sync`.

use std::collections::BTreeSet;

use model::{EventSerial, Membership, RoomSerial, tables};
use rooms::{NewsEvent, PlaceToken, RoomNews, StateAt};
use store::Read;

use super::{
    known::{KnownRoom, Summary},
    required::MEMBER,
    room::{Look, RoomPart},
};
use crate::{
    Sync, SyncError,
    followed::is_plain,
    json::{Composer, quoted},
};

/// Members to be told, as JSON, and their events.
type Members = (Composer, BTreeSet<EventSerial>);

impl Sync {
    /// What is to be told of such a room; none if the database must be read.
    pub(super) fn followed_part(
        &self,
        look: &Look<'_>,
        room: RoomSerial,
    ) -> Result<Option<RoomPart>, SyncError> {
        let Some(before) = look.before.filter(|before| follows(look, before, room)) else {
            return Ok(None);
        };
        let snapshot = look.asking.snapshot;
        let news = self.inner.rooms.news(snapshot, room, before.told)?;
        let Some(news) = news.filter(is_plain) else {
            return Ok(None);
        };
        let ignored = &look.asking.user.ignored;
        let events = news.events();
        let events: Vec<&NewsEvent> = events
            .filter(|event| !ignored.has(event.change.sender))
            .collect();
        if events.len() > look.config.limit {
            return Ok(None);
        }
        let summary = self.followed_summary(look, before, room, &news)?;
        let (state, members) = self.new_speakers(look, before, room, &events)?;

        let mut answer = Composer::object();
        let mut has_news = !events.is_empty();
        has_news |= look.summary(&summary, &mut answer);
        if !state.is_empty() {
            answer.field("required_state", &state.finish());
        }
        if !events.is_empty() {
            self.put_news(look, &events, &mut answer)?;
        }
        let mut known = look.known(Some(before));
        known.contiguous = before.contiguous.saturating_add(events.len());
        known.summary = summary;
        known.add_members(members);
        Ok(Some(RoomPart {
            room_id: news.room_id.to_string(),
            json: has_news.then(|| answer.finish()),
            known,
            fresh: None,
        }))
    }

    /// The fields that are told when they change. What the state says has not changed.
    fn followed_summary(
        &self,
        look: &Look<'_>,
        before: &KnownRoom,
        room: RoomSerial,
        news: &RoomNews,
    ) -> Result<Summary, SyncError> {
        let (snapshot, user) = (look.asking.snapshot, look.asking.question.session.user);
        let head = snapshot.get(&tables::HEAD_BY_ROOM, &room)?;
        let news = Some((before.told, news));
        let unread = self
            .inner
            .rooms
            .unread_of_member(snapshot, room, user, look.record, news)?;
        let unread = unread.total();
        Ok(Summary {
            bump_stamp: head.unwrap_or_default().bumped,
            notifications: unread.notifications,
            highlights: unread.highlights,
            ..before.summary.clone()
        })
    }

    /// The memberships of those who spoke, if members are told as they speak and the client
    /// does not have them.
    fn new_speakers(
        &self,
        look: &Look<'_>,
        before: &KnownRoom,
        room: RoomSerial,
        events: &[&NewsEvent],
    ) -> Result<Members, SyncError> {
        let (mut shown, mut told) = (Composer::array(), BTreeSet::new());
        if !look.config.required.lazy_members() {
            return Ok((shown, told));
        }
        let mut looked_up = BTreeSet::new();
        for event in events {
            if !looked_up.insert(event.change.sender) {
                continue;
            }
            let key = (room, MEMBER.to_owned(), event.event.sender().into_owned());
            let member = look.asking.snapshot.get(&tables::STATE_BY_ROOM, &key)?;
            let Some(member) = member.filter(|member| !before.members.contains(member)) else {
                continue;
            };
            let (reader, state) = (self.reader(look.asking, room)?, StateAt::Current);
            let states = self
                .inner
                .states
                .states(&self.inner.store, &reader, &state)?;
            if let Some(json) = states.json(member)? {
                shown.item(&json);
                told.insert(member);
            }
        }
        Ok((shown, told))
    }

    fn put_news(
        &self,
        look: &Look<'_>,
        events: &[&NewsEvent],
        answer: &mut Composer,
    ) -> Result<(), SyncError> {
        let asking = look.asking;
        let (viewer, now) = (asking.viewer(), self.inner.clock.now().0);
        let mut shown = Composer::array();
        for event in events {
            shown.item(&event.json(asking.snapshot, viewer, now)?);
        }
        let places = events.iter().map(|event| event.event.meta.position);
        let live = look.live(places.rev());
        let first = events.first().map_or(PlaceToken::END, |first| {
            PlaceToken::at(first.event.meta.depth, first.event.meta.tie_break)
        });
        answer
            .field("timeline", &shown.finish())
            .field("limited", "false")
            .field("num_live", &live.to_string())
            .field("prev_batch", &quoted(&first.to_string()));
        Ok(())
    }
}

/// Whether the client has all of the room up to its last answer, and wants the same of it.
fn follows(look: &Look<'_>, before: &KnownRoom, room: RoomSerial) -> bool {
    let (user, config) = (look.asking.user, look.config);
    look.record.membership == Membership::Join
        && before.contiguous >= config.limit
        && before.required.fingerprint() == config.required.fingerprint()
        && before.member_event == look.record.event
        // Of these the news of the room say nothing.
        && !user.has_read_privately(room, before.told)
        && !user.recounts(before.told)
}
