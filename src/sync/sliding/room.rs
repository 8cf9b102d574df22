//! One room of an answer.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use model::{EventSerial, Membership, MembershipRecord, RoomSerial, room_scope, tables};
use rooms::{ClientEvent, EventReader, StateAt};
use serde::Deserialize;
use store::{Position, Read, Snapshot};

use super::{
    Asking,
    known::{KnownRoom, Summary},
    lists::RoomConfig,
    required::MEMBER,
    states::States,
};
use crate::{
    Sync, SyncError,
    device_lists::root_at,
    json::{Composer, quoted, values},
    members::{hero_ids, senders},
    redacted_state::StateEvent,
    room::{RoomReader, RoomView, Timeline},
    sections::was_inside,
    stripped::stripped_state,
};

/// What is told of a room.
pub(crate) struct RoomPart {
    pub(crate) room_id: String,
    /// None if there is nothing new.
    pub(crate) json: Option<String>,
    /// What the client knows with it.
    pub(crate) known: KnownRoom,
    /// The events of a timeline that begins anew.
    pub(crate) fresh: Option<Vec<EventSerial>>,
}

/// State to be told: by type and state key.
type Wanted = BTreeMap<(String, String), EventSerial>;

/// A room that is looked at: for whom, and what they know of it.
pub(super) struct Look<'a> {
    pub(super) asking: &'a Asking<'a>,
    pub(super) record: &'a MembershipRecord,
    pub(super) config: &'a RoomConfig,
    /// What was told, if the client can go on from it.
    pub(super) before: Option<&'a KnownRoom>,
    is_direct: bool,
}

impl Sync {
    /// What is to be told of a room; none if certainly nothing.
    pub(crate) fn room_part(
        &self,
        asking: &Asking<'_>,
        room: RoomSerial,
        config: &RoomConfig,
        told: Option<&KnownRoom>,
    ) -> Result<Option<RoomPart>, SyncError> {
        let Some(record) = asking.user.memberships.get(&room) else {
            return Ok(None);
        };
        let wants_all = config.required.wants("m.room.member", "*");
        if told.is_none() && wants_all && rooms::is_partial(asking.snapshot, room)? {
            // As by `/sync`: the room is there when its members are.
            return Ok(None);
        }
        let is_direct = asking.user.direct.contains(&room);
        let is_current = |told: &KnownRoom| {
            self.is_current(room, told, record, config, is_direct)
                && !asking.user.has_read_privately(room, told.told)
                && !asking.user.recounts(told.told)
        };
        if told.is_some_and(is_current) {
            return Ok(None);
        }
        let stays = |told: &&KnownRoom| {
            told.membership == Membership::Join && record.last_join <= told.told.0
        };
        let look = Look {
            asking,
            record,
            config,
            before: told.filter(stays),
            is_direct,
        };
        if let Some(part) = self.followed_part(&look, room)? {
            return Ok(Some(part));
        }
        let reader = self.reader(asking, room)?;
        match record.membership {
            Membership::Invite | Membership::Knock => self.outside(&look, &reader, told),
            Membership::Join => self.inside(look, reader),
            // Of a room that was removed nothing is left but how one went out.
            Membership::Leave | Membership::Ban
                if was_inside(record) && !rooms::is_purged(asking.snapshot, room)? =>
            {
                self.inside(look, reader)
            }
            Membership::Leave | Membership::Ban => only_own_membership(&look, &reader),
        }
        .map(Some)
    }

    /// Whether certainly nothing is to be told.
    fn is_current(
        &self,
        room: RoomSerial,
        told: &KnownRoom,
        record: &MembershipRecord,
        config: &RoomConfig,
        is_direct: bool,
    ) -> bool {
        if told.member_event != record.event {
            return false;
        }
        if !told.is_present() {
            // Whoever is out sees no more.
            return true;
        }
        told.is_direct == is_direct
            && (record.membership != Membership::Join
                || told.contiguous >= config.limit
                    && told.required.fingerprint() == config.required.fingerprint()
                    && !self.inner.store.changed_since(room_scope(room), told.told))
    }

    pub(super) fn reader<'a>(
        &'a self,
        asking: &Asking<'a>,
        room: RoomSerial,
    ) -> Result<EventReader<'a, Snapshot>, SyncError> {
        let viewer = asking.viewer();
        Ok(self.inner.rooms.reader_of(asking.snapshot, room, viewer)?)
    }

    /// A room that the user is invited to or knocks at.
    fn outside(
        &self,
        look: &Look<'_>,
        reader: &EventReader<'_, Snapshot>,
        told: Option<&KnownRoom>,
    ) -> Result<RoomPart, SyncError> {
        let mut known = look.known(None);
        let mut answer = Composer::object();
        let same = told.filter(|told| told.member_event == look.record.event);
        if let Some(told) = same {
            known.account_data = told.account_data;
            if told.is_direct != look.is_direct {
                answer.field("is_dm", flag(look.is_direct));
            }
        } else {
            answer.field("initial", "true");
            if look.is_direct {
                answer.field("is_dm", "true");
            }
            known.summary.bump_stamp = look.record.position;
            answer
                .field("bump_stamp", &look.record.position.to_string())
                .field(
                    "invite_state",
                    &values(&stripped_state(reader, look.record)?),
                );
        }
        Ok(RoomPart {
            room_id: reader.room_id.clone(),
            json: (!answer.is_empty()).then(|| answer.finish()),
            known,
            fresh: None,
        })
    }

    /// A room that the user is in, or was until they went or were put out.
    fn inside(
        &self,
        look: Look<'_>,
        reader: EventReader<'_, Snapshot>,
    ) -> Result<RoomPart, SyncError> {
        let limit = look.config.limit;
        let expands = look.before.is_some_and(|before| before.contiguous < limit);
        let view = RoomView {
            limit,
            ..RoomView::default()
        };
        let since = look.before.map(|before| before.told);
        let timeline_since = since.filter(|_| !expands);
        let reader = RoomReader::new(reader, &view, look.record, timeline_since)?;
        let timeline = reader.timeline()?;
        let state = look.state(&reader)?;
        let states = self
            .inner
            .states
            .states(&self.inner.store, &reader.reader, &state)?;
        let changed = look.changed(&reader, since, &timeline)?;
        let (wanted, members) = look.wanted(&reader.reader, &states, changed, &timeline)?;
        let summary = self.room_summary(&look, &reader.reader, &states)?;

        let mut answer = Composer::object();
        let begins_anew = look.before.is_none() || expands;
        let has_events = timeline.limited || !timeline.events.is_empty();
        let mut has_news = begins_anew || has_events || !wanted.is_empty();
        has_news |= look.summary(&summary, &mut answer);
        if expands {
            answer.field("unstable_expanded_timeline", "true");
        }
        if !wanted.is_empty() {
            answer.field("required_state", &state_json(&states, wanted)?);
        }
        if begins_anew || has_events {
            look.timeline(&reader.reader, &timeline, &mut answer)?;
        }
        let events = timeline.events.iter().map(|event| event.serial);
        let fresh = begins_anew.then(|| events.collect());
        let mut known = look.known(look.before);
        known.contiguous = look.contiguous(&timeline, begins_anew);
        known.summary = summary;
        if look.config.required.lazy_members() {
            known.add_members(members);
        }
        Ok(RoomPart {
            room_id: reader.reader.room_id,
            json: has_news.then(|| answer.finish()),
            known,
            fresh,
        })
    }

    /// The fields that are told when they change, as they are now.
    fn room_summary(
        &self,
        look: &Look<'_>,
        reader: &EventReader<'_, Snapshot>,
        states: &States<'_>,
    ) -> Result<Summary, SyncError> {
        let (snapshot, room) = (look.asking.snapshot, reader.room);
        let mut summary = Summary {
            name: states.name()?,
            avatar: states.avatar()?,
            bump_stamp: look.record.position,
            ..Summary::default()
        };
        if look.record.membership != Membership::Join {
            return Ok(summary);
        }
        let head = snapshot
            .get(&tables::HEAD_BY_ROOM, &room)?
            .unwrap_or_default();
        summary.bump_stamp = head.bumped;
        summary.joined = head.joined;
        summary.invited = head.invited;
        if summary.name.is_none() {
            summary.heroes = heroes(reader)?;
        }
        let user = look.asking.question.session.user;
        let unread = self.inner.rooms.unread(snapshot, room, user)?.total();
        summary.notifications = unread.notifications;
        summary.highlights = unread.highlights;
        Ok(summary)
    }
}

impl Look<'_> {
    /// What the client knows with this answer, in so far as it is the same for all rooms.
    pub(super) fn known(&self, before: Option<&KnownRoom>) -> KnownRoom {
        KnownRoom {
            told: self.asking.snapshot.position(),
            membership: self.record.membership,
            member_event: self.record.event,
            contiguous: usize::MAX,
            required: self.config.required.clone(),
            members: before
                .map(|before| before.members.clone())
                .unwrap_or_default(),
            summary: Summary::default(),
            is_direct: self.is_direct,
            account_data: before.and_then(|before| before.account_data),
            receipts: before.and_then(|before| before.receipts),
            typing: before.and_then(|before| before.typing),
        }
    }

    /// The room's state as the user may see it.
    fn state(&self, reader: &RoomReader<'_>) -> Result<StateAt, SyncError> {
        if self.record.membership == Membership::Join {
            return Ok(StateAt::Current);
        }
        let own = (MEMBER.to_owned(), reader.reader.viewer_id().to_owned());
        Ok(StateAt::Past {
            root: reader.state_at_end()?,
            change: Some((own.0, own.1, self.record.event)),
        })
    }

    /// The state that is another than the client knows.
    fn changed(
        &self,
        reader: &RoomReader<'_>,
        since: Option<Position>,
        timeline: &Timeline,
    ) -> Result<Vec<StateEvent>, SyncError> {
        let Some(since) = since else {
            return Ok(Vec::new());
        };
        let to = reader.state_at_end()?;
        let from = root_at(self.asking.snapshot, reader.reader.room, since)?.unwrap_or(to);
        let mut changed = reader.reader.maps().changed(from, to)?;
        changed.extend(reader.redacted(to, since, timeline)?);
        Ok(changed)
    }

    /// The state to be told, and the memberships among it.
    fn wanted(
        &self,
        reader: &EventReader<'_, Snapshot>,
        states: &States<'_>,
        changed: Vec<StateEvent>,
        timeline: &Timeline,
    ) -> Result<(Wanted, BTreeSet<EventSerial>), SyncError> {
        let required = &self.config.required;
        let mut wanted = match self.before {
            None => required.events(states)?,
            Some(before) if before.required.fingerprint() == required.fingerprint() => {
                Wanted::new()
            }
            Some(before) => required.added_to(&before.required).events(states)?,
        };
        let is_lazy = required.lazy_members();
        // Who holds the whole list of members keeps it true as long as there is no gap.
        let all_members = is_lazy && !timeline.limited;
        for (kind, key, event) in changed {
            let has_it = |before: &KnownRoom| before.members.contains(&event);
            let is_kept = kind == MEMBER && (all_members || self.before.is_some_and(has_it));
            if required.wants(&kind, &key) || is_kept {
                wanted.insert((kind, key), event);
            }
        }
        if self.record.membership != Membership::Join {
            // Clients learn from it that they are out.
            let own = (MEMBER.to_owned(), reader.viewer_id().to_owned());
            wanted.insert(own, self.record.event);
        }
        if is_lazy {
            for user in speakers(&timeline.events) {
                let key = (MEMBER.to_owned(), user);
                if wanted.contains_key(&key) {
                    continue;
                }
                let Some(event) = states.get(MEMBER, &key.1)? else {
                    continue;
                };
                let is_told = |before: &KnownRoom| before.members.contains(&event);
                if !self.before.is_some_and(is_told) {
                    wanted.insert(key, event);
                }
            }
        }
        let members = wanted.iter().filter(|((kind, _), _)| kind == MEMBER);
        let members = members.map(|(_, event)| *event).collect();
        Ok((wanted, members))
    }

    /// Writes what of the summary is another than before, and the counts, which clients
    /// take for 0 where they are missing. Returns whether anything is another.
    pub(super) fn summary(&self, now: &Summary, answer: &mut Composer) -> bool {
        let before = self.before.map(|before| &before.summary);
        let is_joined = self.record.membership == Membership::Join;
        let nothing = Summary::default();
        let old = before.unwrap_or(&nothing);
        let or_null = |text: &Option<String>| match text {
            Some(text) => quoted(text),
            None => "null".to_owned(),
        };
        if before.is_none() {
            answer.field("initial", "true");
        }
        if now.name != old.name {
            answer.field("name", &or_null(&now.name));
        }
        if now.avatar != old.avatar {
            answer.field("avatar", &or_null(&now.avatar));
        }
        if now.heroes != old.heroes && !now.heroes.is_empty() {
            answer.field("heroes", &now.heroes);
        }
        let was_direct = self.before.is_some_and(|before| before.is_direct);
        if self.is_direct != was_direct {
            answer.field("is_dm", flag(self.is_direct));
        }
        if before.is_none_or(|old| old.bump_stamp != now.bump_stamp) {
            answer.field("bump_stamp", &now.bump_stamp.to_string());
        }
        if is_joined && before.is_none_or(|old| old.joined != now.joined) {
            answer.field("joined_count", &now.joined.to_string());
        }
        if is_joined && before.is_none_or(|old| old.invited != now.invited) {
            answer.field("invited_count", &now.invited.to_string());
        }
        answer
            .field("notification_count", &now.notifications.to_string())
            .field("highlight_count", &now.highlights.to_string());
        now != old || self.is_direct != was_direct
    }

    fn timeline(
        &self,
        reader: &EventReader<'_, Snapshot>,
        timeline: &Timeline,
        answer: &mut Composer,
    ) -> Result<(), SyncError> {
        let mut events = Composer::array();
        for event in &timeline.events {
            events.item(&reader.json(event, false)?);
        }
        let positions = timeline.events.iter().map(|event| event.meta.position);
        let live = self.live(positions.rev());
        answer
            .field("timeline", &events.finish())
            .field("limited", flag(timeline.limited))
            .field("num_live", &live.to_string())
            .field("prev_batch", &quoted(&timeline.prev_batch.to_string()));
        Ok(())
    }

    /// How many events, of which these are the commits, newest first, came after the client's
    /// last answer, and so have just happened for it.
    pub(super) fn live(&self, positions: impl Iterator<Item = u64>) -> usize {
        let since = self.asking.before.map(|before| before.position.0);
        let is_live = |position: &u64| since.is_some_and(|since| *position > since);
        positions.take_while(is_live).count()
    }

    /// How many of the newest events the client has without a gap.
    fn contiguous(&self, timeline: &Timeline, begins_anew: bool) -> usize {
        let told = timeline.events.len();
        match self.before {
            _ if timeline.limited => told,
            Some(before) if !begins_anew => before.contiguous.saturating_add(told),
            _ => usize::MAX,
        }
    }
}

/// A room of which the user may see nothing but how their invitation ended.
fn only_own_membership(
    look: &Look<'_>,
    reader: &EventReader<'_, Snapshot>,
) -> Result<RoomPart, SyncError> {
    let mut answer = Composer::object();
    answer
        .field("initial", "true")
        .field("bump_stamp", &look.record.position.to_string());
    if let Some(own) = reader.load(look.record.event)? {
        let own = values(&[reader.json(&own, false)?]);
        answer
            .field("required_state", &own)
            .field("timeline", &own)
            .field("limited", "false");
    }
    Ok(RoomPart {
        room_id: reader.room_id.clone(),
        json: Some(answer.finish()),
        known: look.known(None),
        fresh: None,
    })
}

fn state_json(states: &States<'_>, wanted: Wanted) -> Result<String, SyncError> {
    let mut events = Composer::array();
    for (_, event) in wanted {
        if let Some(json) = states.json(event)? {
            events.item(&json);
        }
    }
    Ok(events.finish())
}

/// Who sent events, and whom memberships among them are about.
fn speakers(events: &[ClientEvent]) -> BTreeSet<String> {
    let members = events.iter().filter(|event| event.event_type() == MEMBER);
    let targets = members.filter_map(|event| event.state_key().map(Cow::into_owned));
    senders(events).into_iter().chain(targets).collect()
}

/// `heroes`: the members that a room without a name is named after; empty if there are
/// none.
fn heroes(reader: &EventReader<'_, Snapshot>) -> Result<String, SyncError> {
    #[derive(Default, Deserialize)]
    struct Profile {
        displayname: Option<serde_json::Value>,
        avatar_url: Option<serde_json::Value>,
    }
    let mut heroes = Composer::array();
    for user_id in hero_ids(reader)? {
        let mut hero = Composer::object();
        hero.field("user_id", &quoted(&user_id));
        let serial = StateAt::Current.get(reader, MEMBER, &user_id)?;
        if let Some(event) = serial
            .map(|serial| reader.load(serial))
            .transpose()?
            .flatten()
        {
            let profile: Profile =
                serde_json::from_str(&reader.content(&event)?).unwrap_or_default();
            let fields = [
                ("displayname", profile.displayname),
                ("avatar_url", profile.avatar_url),
            ];
            for (name, value) in fields {
                // Memberships may hold anything: only text is passed on.
                if let Some(text) = value.as_ref().and_then(|value| value.as_str()) {
                    hero.field(name, &quoted(text));
                }
            }
        }
        heroes.item(&hero.finish());
    }
    Ok(if heroes.is_empty() {
        String::new()
    } else {
        heroes.finish()
    })
}

fn flag(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}
