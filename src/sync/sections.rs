//! The parts of an answer of `/sync`.

use std::collections::BTreeSet;

use model::{DeviceSerial, Membership, MembershipRecord, RoomSerial, device_scope};
use rooms::{Counts, EventReader, ReceiptViewer, Unread};
use ruma_common::OwnedUserId;
use store::{Position, Snapshot};

use crate::{
    CONFIRMED, Sync, SyncError,
    followed::Followed,
    json::{Composer, basic_event, events, quoted, strings, values},
    room::RoomReader,
    stripped::stripped_state,
    v3::Question,
    whole::Whole,
    window::Window,
};

/// To-device messages in one answer.
pub(crate) const TO_DEVICE_LIMIT: usize = 100;

impl Sync {
    /// `rooms.join`.
    pub(crate) fn joined_rooms(
        &self,
        question: &Question,
        window: &Window<'_>,
        rooms: &mut Composer,
    ) -> Result<(), SyncError> {
        let mut join = Composer::object();
        let candidates = self.candidates(question, window);
        for (room, record) in window.joined() {
            let is_candidate = |candidates: &BTreeSet<_>| candidates.contains(&room);
            if !candidates.as_ref().is_none_or(is_candidate) && !window.is_new(record.last_join) {
                continue;
            }
            if let Some((room_id, json)) = self.joined_room(question, window, room, record)? {
                join.field(&room_id, &json);
            }
        }
        if !join.is_empty() {
            rooms.field("join", &join.finish());
        }
        Ok(())
    }

    /// The rooms of which there may be something to tell, besides those that are new to the
    /// user; `None` if of every room.
    fn candidates(&self, question: &Question, window: &Window<'_>) -> Option<BTreeSet<RoomSerial>> {
        let since = question.since?;
        if question.view.full_state || window.recounts() {
            return None;
        }
        let joined = window.joined().map(|(room, _)| room);
        let typing = self.inner.rooms.typing_among(joined, since.ephemeral);
        let changed = window.changed_rooms().iter().chain(&typing);
        let own = window.room_data.keys().chain(&window.private_receipts);
        Some(changed.chain(own).copied().collect())
    }

    /// A joined room's id and part; `None` if nothing happened there.
    fn joined_room(
        &self,
        question: &Question,
        window: &Window<'_>,
        room: RoomSerial,
        record: &MembershipRecord,
    ) -> Result<Option<(String, String)>, SyncError> {
        let is_new = window.is_new(record.last_join) || question.view.full_state;
        let typing = self.typing(question, window, room, window.is_new(record.last_join))?;
        let changed = window.has_changed(room);
        let recounted = window.recounts()
            && self.inner.rooms.has_unread_events(
                window.snapshot,
                room,
                question.session.user,
                record,
            )?;
        let has_own = window.room_data.contains_key(&room)
            || window.private_receipts.contains(&room)
            || recounted;
        if !is_new && !changed && typing.is_none() && !has_own {
            return Ok(None);
        }
        let whole = Whole::of(window.snapshot, room)?;
        let lazy = question.view.lazy_members;
        if !lazy && whole.is_not_yet() {
            // Without its members the room is no room for such a client (MSC3902).
            return Ok(None);
        }
        let shown = whole.as_shown(record, lazy);
        let (record, own) = (&shown, record);
        let is_new = is_new || window.is_new(record.last_join);
        let typing =
            match self.followed_room(question, window, (room, record), typing, recounted)? {
                Followed::Told(told) => return Ok(told),
                Followed::NeedsReading(typing) => typing,
            };
        let reader = self.room_reader(question, window, room, record)?;
        if !question.rooms.allows_room(&reader.reader.room_id) {
            return Ok(None);
        }
        let timeline = reader.timeline()?;
        let (receipts, own_receipt) = self.receipts(question, window, &reader)?;
        let data = self.room_data(question, window, room, reader.since.is_none())?;
        let mut answer = Composer::object();
        let mut told = reader.history(&timeline, &mut answer)?;
        told |= self.put_sticky(&reader, &timeline, &mut answer)?;
        let news = told || is_new || own_receipt || !data.is_empty() || recounted;
        if !news && receipts.is_empty() && typing.is_none() {
            return Ok(None);
        }
        let ephemeral: Vec<String> = receipts.into_iter().chain(typing).collect();
        answer
            .field("ephemeral", &events(&ephemeral))
            .field("account_data", &events(&data));
        let unread = self.inner.rooms.unread_of_member(
            window.snapshot,
            room,
            question.session.user,
            own,
            None,
        )?;
        put_unread(question, &unread, &mut answer);
        Ok(Some((reader.reader.room_id, answer.finish())))
    }

    fn room_reader<'a>(
        &'a self,
        question: &'a Question,
        window: &'a Window<'_>,
        room: RoomSerial,
        record: &'a MembershipRecord,
    ) -> Result<RoomReader<'a>, SyncError> {
        RoomReader::new(
            self.event_reader(question, window.snapshot, room)?,
            &question.view,
            record,
            window.since,
        )
    }

    pub(crate) fn event_reader<'a>(
        &'a self,
        question: &Question,
        snapshot: &'a Snapshot,
        room: RoomSerial,
    ) -> Result<EventReader<'a, Snapshot>, SyncError> {
        Ok(self
            .inner
            .rooms
            .reader_of(snapshot, room, question.viewer())?)
    }

    /// `rooms.invite` and `rooms.knock`.
    pub(crate) fn outside_rooms(
        &self,
        question: &Question,
        window: &Window<'_>,
        rooms: &mut Composer,
    ) -> Result<(), SyncError> {
        for (membership, section, field) in [
            (Membership::Invite, "invite", "invite_state"),
            (Membership::Knock, "knock", "knock_state"),
        ] {
            let mut part = Composer::object();
            for (room, record) in window.of(membership) {
                if !window.is_new(record.position) {
                    continue;
                }
                if membership == Membership::Invite && !window.is_told_of(record.sender)? {
                    continue;
                }
                let reader = self.event_reader(question, window.snapshot, room)?;
                if !question.rooms.allows_room(&reader.room_id) {
                    continue;
                }
                let mut one = Composer::object();
                one.field(field, &events(&stripped_state(&reader, record)?));
                part.field(&reader.room_id, &one.finish());
            }
            if !part.is_empty() {
                rooms.field(section, &part.finish());
            }
        }
        Ok(())
    }

    /// `rooms.leave`: rooms that the user left or was put out of since. Of a first sync,
    /// and where the whole state is asked for: those that the user was kicked or banned
    /// from, which clients would not learn otherwise, and those that the user has left
    /// where the filter asks for them.
    pub(crate) fn left_rooms(
        &self,
        question: &Question,
        window: &Window<'_>,
        rooms: &mut Composer,
    ) -> Result<(), SyncError> {
        let mut leave = Composer::object();
        let gone = window
            .of(Membership::Leave)
            .chain(window.of(Membership::Ban));
        for (room, record) in gone {
            let has_all = window.since.is_none() || question.view.full_state;
            let is_news = window.since.is_some_and(|since| record.position > since.0);
            let was_put_out = record.last_join > 0 && record.sender != question.session.user;
            let is_shown = !record.forgotten && (question.include_leave || was_put_out);
            let is_wanted = is_news || (has_all && is_shown);
            if !is_wanted {
                continue;
            }
            let reader = self.room_reader(question, window, room, record)?;
            if !question.rooms.allows_room(&reader.reader.room_id) {
                continue;
            }
            let mut answer = Composer::object();
            // Of a room that was removed nothing is left but how one went out.
            if was_inside(record) && !rooms::is_purged(window.snapshot, room)? {
                let timeline = reader.timeline()?;
                reader.history(&timeline, &mut answer)?;
            } else {
                reader.only_own_membership(&mut answer)?;
            }
            let data = self.room_data(question, window, room, reader.since.is_none())?;
            answer.field("account_data", &events(&data));
            leave.field(&reader.reader.room_id, &answer.finish());
        }
        if !leave.is_empty() {
            rooms.field("leave", &leave.finish());
        }
        Ok(())
    }

    /// The account's own data that changed, or all of it, of the types that are wanted.
    pub(crate) fn account_data(
        &self,
        window: &Window<'_>,
        allows: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, SyncError> {
        let wanted = |name: &str| window.since.is_none() || window.global_data.contains(name);
        if window.since.is_some() && window.global_data.is_empty() {
            return Ok(Vec::new());
        }
        let all = accounts::account_data_of_room(window.snapshot, window.user, None)?;
        Ok(all
            .into_iter()
            .filter(|entry| wanted(&entry.event_type) && allows(&entry.event_type))
            .filter(|entry| window.since.is_some() || !entry.is_deleted())
            .map(|entry| data_event(&entry))
            .collect())
    }

    /// The account data of a room that changed, or all of it.
    pub(crate) fn room_data(
        &self,
        question: &Question,
        window: &Window<'_>,
        room: RoomSerial,
        all: bool,
    ) -> Result<Vec<String>, SyncError> {
        let changed = window.room_data.get(&room);
        if !all && changed.is_none() {
            return Ok(Vec::new());
        }
        let wanted = |name: &str| all || changed.is_some_and(|changed| changed.contains(name));
        let entries = accounts::account_data_of_room(window.snapshot, window.user, Some(room))?;
        Ok(entries
            .into_iter()
            .filter(|entry| {
                let name = &entry.event_type;
                let is_there = !all || !entry.is_deleted();
                wanted(name) && is_there && question.view.account_data.allows_type(name)
            })
            .map(|entry| data_event(&entry))
            .collect())
    }

    /// `to_device`; returns the commit up to which the device has its messages once
    /// it has this answer, if there are any.
    pub(crate) fn to_device(
        &self,
        question: &Question,
        snapshot: &Snapshot,
        answer: &mut Composer,
    ) -> Result<Option<Position>, SyncError> {
        let device = question.session.device;
        if let Some(since) = question.since
            && since.to_device >= since.position
            && !self
                .inner
                .store
                .changed_since(device_scope(device), since.position)
        {
            return Ok(None);
        }
        let (messages, up_to) = self.waiting_messages(snapshot, device, TO_DEVICE_LIMIT)?;
        if messages.is_empty() {
            return Ok(None);
        }
        answer.field("to_device", &events(&messages));
        Ok(Some(up_to))
    }

    /// The messages for a device that it has not confirmed, and the commit up to which
    /// it has its messages once it has these.
    pub(crate) fn waiting_messages(
        &self,
        snapshot: &Snapshot,
        device: DeviceSerial,
        limit: usize,
    ) -> Result<(Vec<String>, Position), SyncError> {
        let after = self.confirmed(device);
        let (messages, up_to) = accounts::to_device(snapshot, device, after, limit)?;
        let messages = messages.into_iter();
        let messages = messages.map(|json| String::from_utf8_lossy(&json).into_owned());
        Ok((messages.collect(), up_to))
    }

    /// Remembers what a device has for certain: it gets none of it again.
    pub(crate) fn confirm(&self, device: DeviceSerial, up_to: Position) {
        let mut confirmed = self.inner.confirmed.lock();
        if confirmed.len() >= CONFIRMED {
            confirmed.clear();
        }
        let known = confirmed.entry(device).or_default();
        *known = up_to.max(*known);
    }

    fn confirmed(&self, device: DeviceSerial) -> Position {
        let confirmed = self.inner.confirmed.lock();
        confirmed.get(&device).copied().unwrap_or_default()
    }

    /// How many of the device's keys can be claimed; returns whether that changed.
    pub(crate) fn key_counts(
        &self,
        device: DeviceSerial,
        window: &Window<'_>,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let counts = accounts::key_counts(window.snapshot, device)?;
        let mut one_time = Composer::object();
        for (algorithm, count) in &counts.one_time {
            one_time.field(algorithm, &count.to_string());
        }
        if !counts.one_time.contains_key("signed_curve25519") {
            // Clients take a missing count for an unknown one, and upload nothing.
            one_time.field("signed_curve25519", "0");
        }
        answer
            .field("device_one_time_keys_count", &one_time.finish())
            .field(
                "device_unused_fallback_key_types",
                &strings(&counts.unused_fallback),
            );
        Ok(window.since.is_some() && window.is_new(counts.position))
    }

    /// The `m.typing` event of a room, if that changed, or if the room is new and
    /// somebody types. It may have changed in a room that is new: the user was there before,
    /// and the client still shows who typed then.
    fn typing(
        &self,
        question: &Question,
        window: &Window<'_>,
        room: RoomSerial,
        is_new: bool,
    ) -> Result<Option<String>, SyncError> {
        let (users, sequence) = self.inner.rooms.typing_for(room, window.ignored()?);
        let has_changed = question
            .since
            .is_some_and(|since| sequence > since.ephemeral);
        let is_news = has_changed || (is_new && !users.is_empty());
        if !is_news || !question.view.ephemeral.allows_type("m.typing") {
            return Ok(None);
        }
        Ok(Some(typing_event(&users)))
    }

    /// The `m.receipt` events of a room, if there is news; and whether the user's own
    /// receipt moved, which changes the unread counts.
    fn receipts(
        &self,
        question: &Question,
        window: &Window<'_>,
        reader: &RoomReader<'_>,
    ) -> Result<(Vec<String>, bool), SyncError> {
        let (view, room) = (reader.reader.view, reader.reader.room);
        let user = question.session.user;
        let viewer = ReceiptViewer {
            user,
            ignored: window.ignored()?,
        };
        let (receipts, own) = match reader.moved_receipts()? {
            Some(moved) => {
                let own = moved.iter().any(|(whose, _, _)| *whose == user);
                (rooms::receipts_of(view, room, viewer, moved)?, own)
            }
            None => (rooms::receipts(view, room, viewer)?, false),
        };
        if !question.view.ephemeral.allows_type("m.receipt") {
            return Ok((Vec::new(), own));
        }
        Ok((receipt_events(&receipts.contents(view)?), own))
    }
}

/// `m.receipt` events with these contents.
pub(crate) fn receipt_events(contents: &[String]) -> Vec<String> {
    let event = |content: &String| basic_event("m.receipt", content);
    contents.iter().map(event).collect()
}

/// `unread_notifications` and, where wanted, `unread_thread_notifications`.
pub(crate) fn put_unread(question: &Question, unread: &Unread, answer: &mut Composer) {
    let counts = |counts: Counts| {
        format!(
            "{{\"notification_count\":{},\"highlight_count\":{}}}",
            counts.notifications, counts.highlights
        )
    };
    let by_thread = question.view.unread_threads;
    let whole = if by_thread {
        unread.main
    } else {
        unread.total()
    };
    answer.field("unread_notifications", &counts(whole));
    if by_thread && !unread.threads.is_empty() {
        let mut threads = Composer::object();
        for (root, count) in &unread.threads {
            threads.field(root, &counts(*count));
        }
        answer.field("unread_thread_notifications", &threads.finish());
    }
}

/// Whether the user was in the room until the event that put them out. What happened
/// between an earlier leaving and a refused invitation or a ban is not theirs to see.
pub(crate) fn was_inside(record: &MembershipRecord) -> bool {
    record.last_join > 0 && record.left_at == record.position && !record.forgotten
}

/// The `m.typing` event with these users.
pub(crate) fn typing_event(users: &[OwnedUserId]) -> String {
    let users: Vec<String> = users.iter().map(|user| quoted(user.as_str())).collect();
    let mut content = Composer::object();
    content.field("user_ids", &values(&users));
    basic_event("m.typing", &content.finish())
}

pub(crate) fn data_event(entry: &accounts::AccountDataEntry) -> String {
    basic_event(&entry.event_type, &String::from_utf8_lossy(&entry.json))
}
