//! Which rooms an answer is about: the user's rooms in their order, the lists' filters
//! and windows, and the subscriptions.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use model::{Membership, MembershipRecord, RoomSerial};
use store::{Position, Snapshot};

use super::{
    Question,
    facts::{RoomFactsCache, UserFacts, rooms_in_spaces},
    known::Known,
    request::{Filters, ScopedRequest},
    required::RequiredState,
};
use crate::{Sync, SyncError, v3::LIMIT};

/// What is wanted of a room, by all the rules that it matches.
#[derive(Clone, Debug)]
pub(crate) struct RoomConfig {
    /// The most events of its timeline.
    pub(crate) limit: usize,
    pub(crate) required: Arc<RequiredState>,
}

impl RoomConfig {
    fn merged(&self, other: &Self) -> Self {
        Self {
            limit: self.limit.max(other.limit),
            required: Arc::new(self.required.merged(&other.required)),
        }
    }
}

/// The rooms of an answer.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// How many rooms are on each list.
    pub(crate) counts: BTreeMap<String, usize>,
    /// The rooms in the window of each list.
    windows: BTreeMap<String, Vec<RoomSerial>>,
    /// The subscribed rooms by their id.
    subscribed: BTreeMap<String, RoomSerial>,
    /// The user's list of rooms as [`Sync::order`] gives it, if a list was asked for.
    order: Option<Order>,
    /// Whether the client has been told of every room that the user is out of.
    is_told_leaves: bool,
    /// Whether it stays as it is while only the order of the rooms changes: every list
    /// shows all of its rooms, and none of them is on its way out.
    is_settled: bool,
    /// All of them, with what is wanted.
    pub(crate) rooms: BTreeMap<RoomSerial, Arc<RoomConfig>>,
}

impl Selection {
    /// The rooms that an extension is about.
    pub(crate) fn scope(&self, extension: &ScopedRequest) -> BTreeSet<RoomSerial> {
        let lists = self.windows.iter();
        let in_lists = lists
            .filter(|(name, _)| extension.has_list(name))
            .flat_map(|(_, rooms)| rooms.iter().copied());
        let subscribed = self.subscribed.iter();
        let subscribed = subscribed
            .filter(|(room_id, _)| extension.has_room(room_id))
            .map(|(_, room)| *room);
        in_lists.chain(subscribed).collect()
    }

    /// All of its rooms, or those of `changed`, with what is wanted.
    pub(crate) fn among<'a>(
        &'a self,
        changed: Option<&'a [RoomSerial]>,
    ) -> Box<dyn Iterator<Item = (&'a RoomSerial, &'a Arc<RoomConfig>)> + 'a> {
        match changed {
            None => Box::new(self.rooms.iter()),
            Some(changed) => {
                let wanted = |room: &'a RoomSerial| Some((room, self.rooms.get(room)?));
                Box::new(changed.iter().filter_map(wanted))
            }
        }
    }

    /// Those of `rooms` that an extension is about.
    pub(crate) fn scope_among(
        &self,
        extension: &ScopedRequest,
        rooms: impl IntoIterator<Item = RoomSerial>,
    ) -> BTreeSet<RoomSerial> {
        let in_lists = |room: &RoomSerial| {
            let mut lists = self.windows.iter();
            lists.any(|(name, rooms)| extension.has_list(name) && rooms.contains(room))
        };
        let subscribed = |room: &RoomSerial| {
            let mut rooms = self.subscribed.iter();
            rooms.any(|(room_id, other)| other == room && extension.has_room(room_id))
        };
        let rooms = rooms.into_iter();
        rooms
            .filter(|room| in_lists(room) || subscribed(room))
            .collect()
    }

    /// About how many bytes this takes.
    pub(crate) fn bytes(&self) -> usize {
        let order = self.order.as_ref().map_or(0, |order| order.places.len());
        size_of::<Self>()
            + self.rooms.len() * 6 * size_of::<RoomSerial>()
            + order * size_of::<Place>()
    }
}

/// The user's list of rooms at a position, which may be that of an earlier answer.
#[derive(Debug)]
struct Order {
    at: Position,
    /// The newest activity first.
    places: Vec<Place>,
}

/// A room on that list, after the commit of its newest event.
type Place = (u64, RoomSerial);

/// The places with the newest activity first.
fn newest_first(places: &mut [Place]) {
    places.sort_unstable_by_key(|(activity, room)| Reverse((*activity, room.0)));
}

/// The places of `before`, but those of the rooms in `moved` as they stand there.
fn moved_up(before: &[Place], mut moved: Vec<Place>) -> Vec<Place> {
    newest_first(&mut moved);
    moved.dedup();
    let rooms: HashSet<RoomSerial> = moved.iter().map(|(_, room)| *room).collect();
    let stayed = before.iter().filter(|(_, room)| !rooms.contains(room));
    let mut places = Vec::with_capacity(before.len());
    let mut moved = moved.into_iter().peekable();
    for place in stayed {
        while let Some(newer) = moved.next_if(|newer| newer > place) {
            places.push(newer);
        }
        places.push(*place);
    }
    places.extend(moved);
    places
}

/// Whether a room stands on the user's list of rooms (MSC4186, "Lists"): those that
/// they are in, are invited to, knock at or were put out of; others only until the
/// client has been told that they left.
fn is_listed(record: &MembershipRecord, user: model::UserSerial, awaits_leave: bool) -> bool {
    match record.membership {
        Membership::Join | Membership::Invite | Membership::Knock => true,
        _ if awaits_leave => true,
        Membership::Leave | Membership::Ban => {
            record.last_join > 0 && !record.forgotten && record.sender != user
        }
    }
}

/// Whether the user takes an invitation of whoever sent this one (client-server API,
/// "Invite permission").
fn takes_invitation(
    snapshot: &Snapshot,
    user: model::UserSerial,
    record: &MembershipRecord,
) -> Result<bool, SyncError> {
    let inviter = model::user_id(snapshot, record.sender)?.unwrap_or_default();
    let permission = accounts::invite_permission(snapshot, user, &inviter)?;
    Ok(permission == accounts::InvitePermission::Allow)
}

/// Whether a user may be told of a room by its id: one that they have been in or have
/// been asked into.
fn may_subscribe(record: &MembershipRecord, awaits_leave: bool) -> bool {
    match record.membership {
        Membership::Join | Membership::Invite | Membership::Knock => true,
        Membership::Leave | Membership::Ban => {
            awaits_leave || (record.last_join > 0 && !record.forgotten)
        }
    }
}

impl Sync {
    /// The rooms that changed since `before`, if they are all that is to be looked at: the
    /// same is asked, the same rooms are selected, and nothing of the user's own changed.
    pub(crate) fn only_changed(
        &self,
        question: &Question,
        snapshot: &Snapshot,
        user: &UserFacts,
        before: &Known,
    ) -> Result<Option<Vec<RoomSerial>>, SyncError> {
        let lists = question.lists.iter();
        let Some(selection) = &before.selection else {
            return Ok(None);
        };
        if before.asked != question.fingerprint
            || !selection.is_settled
            || !user.is_same(&before.user)
            // Of these the state of other rooms decides.
            || lists.clone().any(|list| list.asked.filters.spaces.is_some())
        {
            return Ok(None);
        }
        let changed = self.changed_rooms(user, before.position);
        for list in lists {
            let filter = Filter::new(self, snapshot, user, &list.asked.filters, question)?;
            let window = selection.windows.get(&list.name);
            for room in &changed {
                let was_listed = window.is_some_and(|rooms| rooms.contains(room));
                if filter.allows(*room)? != was_listed {
                    return Ok(None);
                }
            }
        }
        Ok(Some(changed))
    }

    /// The rooms that the user is in and in which something may have happened since.
    fn changed_rooms(&self, user: &UserFacts, since: Position) -> Vec<RoomSerial> {
        let is_joined = |record: &MembershipRecord| record.membership == Membership::Join;
        if let Some(changed) = self.inner.store.recent_changes(since) {
            let rooms = changed.into_iter().filter_map(model::room_of_scope);
            let is_theirs = |room: &RoomSerial| user.memberships.get(room).is_some_and(is_joined);
            return rooms.filter(is_theirs).collect();
        }
        let joined = user.memberships.iter();
        let joined = joined.filter(|(_, record)| is_joined(record));
        let scopes = joined.map(|(room, _)| model::room_scope(*room));
        let changed = self.inner.store.changed_among(scopes, since);
        changed
            .into_iter()
            .filter_map(model::room_of_scope)
            .collect()
    }

    /// Which rooms an answer is about.
    pub(crate) fn select(
        &self,
        question: &Question,
        snapshot: &Snapshot,
        user: &UserFacts,
        known: &Known,
    ) -> Result<Selection, SyncError> {
        let ordered = known.selection.as_deref();
        let ordered = ordered.filter(|one| one.is_told_leaves && user.is_same(&known.user));
        let mut awaited = user.memberships.iter();
        let is_told_leaves =
            ordered.is_some() || !awaited.any(|(room, record)| known.awaits_leave(*room, record));
        let mut selection = Selection {
            is_told_leaves,
            is_settled: is_told_leaves,
            ..Selection::default()
        };
        let mut rules: BTreeMap<RoomSerial, Vec<usize>> = BTreeMap::new();
        if !question.lists.is_empty() {
            let order = match ordered.and_then(|one| one.order.as_ref()) {
                Some(before) => self.order_after(before, snapshot, user)?,
                None => self.order(question, snapshot, user, known)?,
            };
            for (rule, list) in question.lists.iter().enumerate() {
                let filter = Filter::new(self, snapshot, user, &list.asked.filters, question)?;
                let mut window = Vec::new();
                let mut count = 0;
                for (_, room) in &order {
                    if !filter.allows(*room)? {
                        continue;
                    }
                    if list.asked.has_place(count) {
                        window.push(*room);
                        rules.entry(*room).or_default().push(rule);
                    }
                    count += 1;
                }
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                selection.is_settled &= window.len() == count;
                selection.counts.insert(list.name.clone(), count);
                selection.windows.insert(list.name.clone(), window);
            }
            selection.order = Some(Order {
                at: snapshot.position(),
                places: order,
            });
        }
        for (number, (room_id, _)) in question.subscriptions.iter().enumerate() {
            let Some(room) = rooms::room_serial(snapshot, room_id)? else {
                continue;
            };
            let record = user.memberships.get(&room);
            if record.is_some_and(|record| may_subscribe(record, known.awaits_leave(room, record)))
            {
                selection.subscribed.insert(room_id.clone(), room);
                let rule = question.lists.len() + number;
                rules.entry(room).or_default().push(rule);
            }
        }
        selection.rooms = configs(question, rules);
        Ok(selection)
    }

    /// The user's list of rooms, that with the newest activity first.
    fn order(
        &self,
        question: &Question,
        snapshot: &Snapshot,
        user: &UserFacts,
        known: &Known,
    ) -> Result<Vec<Place>, SyncError> {
        let store = &self.inner.store;
        let mut rooms = Vec::with_capacity(user.memberships.len());
        for (room, record) in user.memberships.iter() {
            if !is_listed(
                record,
                question.session.user,
                known.awaits_leave(*room, record),
            ) {
                continue;
            }
            if record.membership == Membership::Invite
                && !takes_invitation(snapshot, question.session.user, record)?
            {
                continue;
            }
            let activity = match record.membership {
                Membership::Join => self.inner.facts.of(store, snapshot, *room)?.activity,
                _ => record.position,
            };
            rooms.push((activity, *room));
        }
        newest_first(&mut rooms);
        Ok(rooms)
    }

    /// The same, where it was `before` and the same rooms are on it since: only what
    /// happened in some of them has moved it.
    fn order_after(
        &self,
        before: &Order,
        snapshot: &Snapshot,
        user: &UserFacts,
    ) -> Result<Vec<Place>, SyncError> {
        let store = &self.inner.store;
        let mut moved = Vec::new();
        for room in self.changed_rooms(user, before.at) {
            let activity = self.inner.facts.of(store, snapshot, room)?.activity;
            moved.push((activity, room));
        }
        Ok(moved_up(&before.places, moved))
    }
}

/// What is wanted of each room; rooms that match the same rules share it.
fn configs(
    question: &Question,
    rules: BTreeMap<RoomSerial, Vec<usize>>,
) -> BTreeMap<RoomSerial, Arc<RoomConfig>> {
    let one = |rule: usize| match question.lists.get(rule) {
        Some(list) => &list.config,
        None => &question.subscriptions[rule - question.lists.len()].1,
    };
    let mut shared: HashMap<Vec<usize>, Arc<RoomConfig>> = HashMap::new();
    let merged = |rules: &[usize]| {
        let mut configs = rules.iter().map(|rule| one(*rule));
        let first = configs.next().cloned();
        first.map(|first| configs.fold(first, |all, one| all.merged(one)))
    };
    let mut found = BTreeMap::new();
    for (room, rules) in rules {
        let config = match shared.get(&rules) {
            Some(config) => config.clone(),
            None => match merged(&rules) {
                Some(config) => {
                    let config = Arc::new(config);
                    shared.insert(rules, config.clone());
                    config
                }
                None => continue,
            },
        };
        found.insert(room, config);
    }
    found
}

/// A list's conditions, with what they are about already looked up.
struct Filter<'a> {
    snapshot: &'a Snapshot,
    store: &'a store::Store,
    facts: &'a RoomFactsCache,
    user: &'a UserFacts,
    account: model::UserSerial,
    asked: &'a Filters,
    name: Option<String>,
    in_spaces: Option<HashSet<RoomSerial>>,
}

impl<'a> Filter<'a> {
    fn new(
        sync: &'a Sync,
        snapshot: &'a Snapshot,
        user: &'a UserFacts,
        asked: &'a Filters,
        question: &Question,
    ) -> Result<Self, SyncError> {
        let in_spaces = match &asked.spaces {
            Some(spaces) => Some(rooms_in_spaces(snapshot, user, spaces)?),
            None => None,
        };
        Ok(Self {
            snapshot,
            store: &sync.inner.store,
            facts: &sync.inner.facts,
            user,
            account: question.session.user,
            asked,
            name: asked
                .room_name_like
                .as_ref()
                .map(|name| name.to_lowercase()),
            in_spaces,
        })
    }

    fn allows(&self, room: RoomSerial) -> Result<bool, SyncError> {
        let asked = self.asked;
        let is = |wanted: Option<bool>, it: bool| wanted.is_none_or(|wanted| wanted == it);
        let invited = || {
            let record = self.user.memberships.get(&room);
            record.is_some_and(|record| record.membership == Membership::Invite)
        };
        if !is(asked.is_dm, self.user.direct.contains(&room))
            || !is(asked.is_invite, asked.is_invite.is_some() && invited())
            || self
                .in_spaces
                .as_ref()
                .is_some_and(|rooms| !rooms.contains(&room))
        {
            return Ok(false);
        }
        Ok(self.allows_details(room)? && self.allows_tags(room)?)
    }

    fn allows_details(&self, room: RoomSerial) -> Result<bool, SyncError> {
        let asked = self.asked;
        if asked.is_encrypted.is_none()
            && asked.room_types.is_empty()
            && asked.not_room_types.is_empty()
            && self.name.is_none()
        {
            return Ok(true);
        }
        let details = self.facts.details(self.store, self.snapshot, room)?;
        Ok(asked
            .is_encrypted
            .is_none_or(|wanted| wanted == details.is_encrypted)
            && (asked.room_types.is_empty() || asked.room_types.contains(&details.room_type))
            && !asked.not_room_types.contains(&details.room_type)
            && self
                .name
                .as_ref()
                .is_none_or(|name| details.name.contains(name)))
    }

    fn allows_tags(&self, room: RoomSerial) -> Result<bool, SyncError> {
        let asked = self.asked;
        if asked.tags.is_none() && asked.not_tags.is_empty() {
            return Ok(true);
        }
        let tags = accounts::tags(self.snapshot, self.account, room)?;
        let any = |wanted: &[String]| wanted.iter().any(|tag| tags.contains_key(tag));
        Ok(asked.tags.as_deref().is_none_or(any) && !any(&asked.not_tags))
    }
}

/// How many events of a timeline a client gets that asks for so many.
pub(crate) fn capped(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(LIMIT).min(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_move_up_as_if_all_were_sorted() {
        let mut places: Vec<Place> = (0..40).map(|room| (room, RoomSerial(room))).collect();
        newest_first(&mut places);
        let mut commit = 40;
        for round in 0..200_u64 {
            let mut moved = Vec::new();
            for number in 0..round % 5 {
                let room = RoomSerial((round * 7 + number * 11) % 40);
                // What one commit brings to several rooms stands by the rooms' numbers.
                commit += number % 2;
                moved.retain(|(_, other)| *other != room);
                moved.push((commit, room));
            }
            // A room that is named twice, and one that has stayed where it was.
            moved.extend(moved.first().copied());
            let stayed = places[usize::try_from(round % 40).unwrap()];
            if moved.iter().all(|(_, room)| *room != stayed.1) {
                moved.push(stayed);
            }

            let mut expected = places.clone();
            for (activity, room) in &moved {
                let place = expected.iter_mut().find(|(_, other)| other == room);
                place.unwrap().0 = *activity;
            }
            newest_first(&mut expected);
            places = moved_up(&places, moved);
            assert_eq!(places, expected, "round {round}");
        }
    }
}
