//! What a search finds: of the events that have the words those that the caller may and
//! wants to see.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
};

use model::{Membership, RoomSerial, tables::MEMBERSHIP_BY_USER};
use rooms::{
    Access, ClientEvent, EventFilter, EventReader, PageRequest, PlaceToken, ReadError, StateAt,
    Viewer, Visibility, room_serial,
};
use ruma_common::{RoomId, api::Direction};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{Read, Snapshot};

use crate::{
    Found, FoundEvent, Group, GroupKey, Order, Question, Search, SearchError,
    hits::{self, At, Hit},
    text::searched,
    token::Token,
    words::words,
};

/// The longest text that is searched for, in bytes.
const MAX_TERM: usize = 2_000;
/// The most different words that are searched for; of more, the first count.
const MAX_WORDS: usize = 16;
/// The most results of one page, and how many there are where nobody says.
const MAX_RESULTS: usize = 100;
const USUAL_RESULTS: usize = 10;
/// The most events that are looked at for one page.
const MAX_EXAMINED: usize = 2_000;
/// The most candidates that are gathered for one page, in all rooms together and in each
/// room at least.
const MAX_HITS: usize = 20_000;
const MIN_ROOM_HITS: usize = 200;
/// The most events on each side of a result.
const MAX_CONTEXT: usize = 25;

/// One search on one snapshot.
struct Run<'a> {
    search: &'a Search,
    view: &'a Snapshot,
    viewer: Viewer,
    question: &'a Question,
    words: Vec<String>,
    from: Option<Token>,
    readers: HashMap<RoomSerial, EventReader<'a, Snapshot>>,
}

/// The candidates in their order.
struct Candidates {
    hits: Vec<Hit>,
    /// Older ones than this were not gathered everywhere.
    floor: Option<At>,
    /// Whether there are more than were gathered.
    is_cut: bool,
}

/// What is shown of a page.
#[derive(Default)]
struct Shown {
    events: Vec<(Hit, ClientEvent)>,
    /// The last that was looked at, if there may be more.
    stopped_at: Option<Hit>,
}

impl Search {
    /// Searches in what `viewer` may see.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn find(&self, viewer: Viewer, question: Question) -> Result<Found, SearchError> {
        if question.term.len() > MAX_TERM {
            return Err(SearchError::Invalid("the search term is too long"));
        }
        let from = match &question.next_batch {
            None => None,
            Some(text) => Some(
                Token::parse(text)
                    .filter(|token| token.order() == question.order)
                    .ok_or(SearchError::Invalid("next_batch is of no such search"))?,
            ),
        };
        self.catch_up().await;
        let search = self.clone();
        self.store()
            .read_long(move |view| Run::new(&search, view, viewer, &question, from).found())
            .await
    }
}

impl<'a> Run<'a> {
    fn new(
        search: &'a Search,
        view: &'a Snapshot,
        viewer: Viewer,
        question: &'a Question,
        from: Option<Token>,
    ) -> Self {
        let mut seen = HashSet::new();
        let words = words(&question.term).into_iter();
        Self {
            words: words
                .filter(|word| seen.insert(word.clone()))
                .take(MAX_WORDS)
                .collect(),
            search,
            view,
            viewer,
            question,
            from,
            readers: HashMap::new(),
        }
    }

    fn found(mut self) -> Result<Found, SearchError> {
        if self.words.is_empty() {
            return Ok(Found::default());
        }
        let candidates = self.candidates()?;
        let shown = self.shown(&candidates)?;
        let next_batch = self.next_batch(&candidates, &shown);
        let mut found = Found {
            count: self.count(&candidates),
            highlights: self.words.clone(),
            groups: self.groups(&shown, next_batch.as_ref()),
            next_batch: next_batch.map(|token| token.to_string()),
            ..Found::default()
        };
        for (hit, event) in &shown.events {
            found.results.push(self.result(*hit, event)?);
        }
        if self.question.include_state {
            let rooms: HashSet<RoomSerial> = shown.events.iter().map(|(hit, _)| hit.room).collect();
            for room in rooms {
                if let Some(reader) = self.readers.get(&room)
                    && let Ok(room_id) = RoomId::parse(&reader.room_id)
                {
                    let state = self
                        .search
                        .rooms()
                        .state(self.view, &room_id, self.viewer)?;
                    found.state.insert(reader.room_id.clone(), state);
                }
            }
        }
        Ok(found)
    }

    /// The rooms that are searched: those that the viewer is or was in, or of the rooms
    /// that the filter names those that the viewer may read.
    fn rooms(&self) -> Result<Vec<RoomSerial>, SearchError> {
        let group = match &self.from {
            Some(Token {
                group: Some((GroupKey::Room, room)),
                ..
            }) => Some(vec![room.clone()]),
            _ => None,
        };
        let mut rooms = Vec::new();
        let Some(named) = group.as_ref().or(self.question.rooms.as_ref()) else {
            for row in self.view.scan(&MEMBERSHIP_BY_USER, &(self.viewer.user,)) {
                let ((_, room), record) = row?;
                let is_left = record.last_join > 0 && !record.forgotten;
                if record.membership == Membership::Join || is_left {
                    rooms.push(room);
                }
            }
            return Ok(rooms);
        };
        let named: HashSet<&String> = named.iter().collect();
        for room_id in named {
            let Some(room) = room_serial(self.view, room_id)? else {
                continue;
            };
            match Access::of(self.view, room, self.viewer.user) {
                Ok(_) => rooms.push(room),
                Err(ReadError::Forbidden(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rooms)
    }

    fn candidates(&mut self) -> Result<Candidates, SearchError> {
        let rooms = self.rooms()?;
        let most = (MAX_HITS / rooms.len().max(1)).max(MIN_ROOM_HITS);
        let is_recent = self.question.order == Order::Recent;
        let before = match &self.from {
            Some(token) if is_recent => Some(token.at),
            _ => None,
        };
        let mut found = Candidates {
            hits: Vec::new(),
            floor: None,
            is_cut: false,
        };
        for room in rooms {
            let (view, question) = (self.view, self.question);
            if !question.filter.allows_room(self.reader(room)?) {
                continue;
            }
            let hits = hits::in_room(view, room, &self.words, &question.fields, before, most)?;
            found.hits.extend(hits.hits);
            found.is_cut |= hits.stopped_at.is_some();
            found.floor = found.floor.max(hits.stopped_at);
        }
        if is_recent {
            found
                .hits
                .sort_unstable_by_key(|hit| std::cmp::Reverse(hit.at));
        } else {
            found.hits.sort_unstable_by(by_rank);
        }
        Ok(found)
    }

    /// The id of a room, whose reader is there from now on.
    fn reader(&mut self, room: RoomSerial) -> Result<&str, SearchError> {
        use std::collections::hash_map::Entry;
        let reader = match self.readers.entry(room) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let secret = self.search.store().secret();
                let now = self.search.inner.clock.now().0;
                vacant.insert(EventReader::new(self.view, room, secret, self.viewer, now)?)
            }
        };
        Ok(&reader.room_id)
    }

    fn shown(&self, candidates: &Candidates) -> Result<Shown, SearchError> {
        let wanted = self.question.limit.unwrap_or(USUAL_RESULTS);
        let limit = wanted.clamp(1, MAX_RESULTS);
        let mut shown = Shown::default();
        let mut last = None;
        let behind = |hit: &&Hit| match &self.from {
            Some(Token {
                score: Some(score),
                at,
                ..
            }) => {
                let place = Hit {
                    score: *score,
                    at: *at,
                    ..**hit
                };
                by_rank(&place, hit) == Ordering::Less
            }
            _ => true,
        };
        for (examined, hit) in candidates.hits.iter().filter(behind).enumerate() {
            let is_below = |floor: At| self.question.order == Order::Recent && hit.at < floor;
            if shown.events.len() == limit || examined == MAX_EXAMINED {
                shown.stopped_at = last;
                return Ok(shown);
            }
            if candidates.floor.is_some_and(is_below) {
                break;
            }
            last = Some(*hit);
            if let Some(event) = self.seen(hit)? {
                shown.events.push((*hit, event));
            }
        }
        // Of a full page only the next one tells whether it was the last.
        let is_full = shown.events.len() == limit;
        if is_full || self.question.order == Order::Recent && candidates.is_cut {
            shown.stopped_at = last;
        }
        Ok(shown)
    }

    /// The event, if it has the words still, and the viewer may and wants to see it.
    fn seen(&self, hit: &Hit) -> Result<Option<ClientEvent>, SearchError> {
        let Some(reader) = self.readers.get(&hit.room) else {
            return Ok(None);
        };
        let Some(event) = reader
            .load(hit.at.1)?
            .filter(|event| event.redacted_by.is_none())
        else {
            return Ok(None);
        };
        let is_of_group = match &self.from {
            Some(Token {
                group: Some((GroupKey::Sender, sender)),
                ..
            }) => event.sender() == *sender,
            _ => true,
        };
        if !is_of_group || !self.question.filter.allows(&event) || reader.is_ignored(&event)? {
            return Ok(None);
        }
        let visibility = Visibility::new(reader)?;
        if !visibility.allows(&event)? {
            return Ok(None);
        }
        // What somebody said when the viewer was not there is not to be guessed by words.
        let edit = rooms::newest_edit(self.view, hit.room, &event)?;
        let source = match &edit {
            Some(edit) if !visibility.allows(edit)? => return Ok(None),
            Some(edit) => edit,
            None => &event,
        };
        Ok(self.has_words(reader, source)?.then_some(event))
    }

    /// Whether the words stand in what the viewer is shown of an event.
    fn has_words(
        &self,
        reader: &EventReader<'_, Snapshot>,
        source: &ClientEvent,
    ) -> Result<bool, ReadError> {
        let shown = reader.json_alone(source, false)?;
        let Some((field, text)) = searched(shown.as_bytes()) else {
            return Ok(false);
        };
        let all: HashSet<String> = words(&text).into_iter().collect();
        let wanted = &self.question.fields;
        Ok(wanted.contains(&field) && self.words.iter().all(|word| all.contains(word)))
    }

    /// How many results there are in all, as far as they were gathered.
    fn count(&self, candidates: &Candidates) -> usize {
        let first = self.from.as_ref().map(|token| token.count);
        first.unwrap_or(candidates.hits.len())
    }

    fn next_batch(&self, candidates: &Candidates, shown: &Shown) -> Option<Token> {
        let group = self.from.as_ref().and_then(|token| token.group.clone());
        let count = self.count(candidates);
        if let Some(hit) = &shown.stopped_at {
            return Some(Token {
                score: (self.question.order == Order::Rank).then_some(hit.score),
                at: hit.at,
                count,
                group,
            });
        }
        // Nothing above the floor: the next page begins below it.
        let is_recent = self.question.order == Order::Recent;
        let floor = candidates.floor.filter(|_| is_recent)?;
        Some(Token {
            score: None,
            at: floor,
            count,
            group,
        })
    }

    fn groups(
        &self,
        shown: &Shown,
        next: Option<&Token>,
    ) -> BTreeMap<&'static str, BTreeMap<String, Group>> {
        let mut all = BTreeMap::new();
        for key in &self.question.groups {
            let mut groups = BTreeMap::<String, Group>::new();
            for (hit, event) in &shown.events {
                let value = match key {
                    GroupKey::Room => self
                        .readers
                        .get(&hit.room)
                        .map(|reader| reader.room_id.clone()),
                    GroupKey::Sender => Some(event.sender().into_owned()),
                };
                let Some(value) = value else { continue };
                let order = groups.len() + 1;
                let next_batch = next.map(|next| {
                    let group = Some((*key, value.clone()));
                    Token {
                        group,
                        ..next.clone()
                    }
                    .to_string()
                });
                let group = groups.entry(value).or_insert(Group {
                    order,
                    next_batch,
                    results: Vec::new(),
                });
                group.results.push(event.stored.event_id.clone());
            }
            all.insert(key.name(), groups);
        }
        all
    }

    fn result(&self, hit: Hit, event: &ClientEvent) -> Result<FoundEvent, SearchError> {
        let reader = self
            .readers
            .get(&hit.room)
            .ok_or(SearchError::Invalid("the room is not there"))?;
        let here = PlaceToken::below(event);
        let context = self.question.context;
        let (before, start) = self.side(reader, Direction::Backward, here, context.before)?;
        let (after, end) = self.side(reader, Direction::Forward, here.above(), context.after)?;
        let json = reader.json(event, true)?;
        let profiles = if context.profiles {
            let shown = before.iter().chain([&json]).chain(&after);
            Some(profiles(reader, event, shown)?)
        } else {
            None
        };
        Ok(FoundEvent {
            event_id: event.stored.event_id.clone(),
            rank: hit.score,
            event: json,
            start: start.to_string(),
            end: end.to_string(),
            before,
            after,
            profiles,
        })
    }

    /// The events on one side of a result, and where the page behind them begins.
    fn side(
        &self,
        reader: &EventReader<'_, Snapshot>,
        direction: Direction,
        from: PlaceToken,
        limit: usize,
    ) -> Result<(Vec<String>, PlaceToken), SearchError> {
        let Ok(room_id) = RoomId::parse(&reader.room_id) else {
            return Ok((Vec::new(), from));
        };
        if limit == 0 {
            return Ok((Vec::new(), from));
        }
        let request = PageRequest {
            from: Some(from),
            to: None,
            direction,
            limit: limit.min(MAX_CONTEXT),
            filter: EventFilter::default(),
            lazy_load_members: false,
        };
        let rooms = self.search.rooms();
        let page = rooms.messages(self.view, &room_id, self.viewer, &request)?;
        let end = match direction {
            Direction::Backward => PlaceToken::START,
            Direction::Forward => PlaceToken::END,
        };
        Ok((page.chunk, page.end.unwrap_or(end)))
    }
}

/// The better match first, of equal ones the newer.
fn by_rank(one: &Hit, other: &Hit) -> Ordering {
    other
        .score
        .total_cmp(&one.score)
        .then(other.at.cmp(&one.at))
}

/// The profiles that the senders of some events had when the result was sent.
fn profiles<'e>(
    reader: &EventReader<'_, Snapshot>,
    result: &ClientEvent,
    shown: impl Iterator<Item = &'e String>,
) -> Result<String, ReadError> {
    #[derive(Deserialize)]
    struct Header {
        sender: String,
    }
    let state = StateAt::after(result);
    let mut profiles = Map::new();
    for json in shown {
        let Ok(header) = serde_json::from_str::<Header>(json) else {
            continue;
        };
        if profiles.contains_key(&header.sender) {
            continue;
        }
        if let Some(serial) = state.get(reader, "m.room.member", &header.sender)?
            && let Some(member) = reader.load(serial)?
        {
            let content: Value =
                serde_json::from_str(&reader.content(&member)?).unwrap_or_default();
            let mut profile = Map::new();
            for name in ["displayname", "avatar_url"] {
                if let Some(value) = content.get(name).filter(|value| value.is_string()) {
                    profile.insert(name.to_owned(), value.clone());
                }
            }
            profiles.insert(header.sender, Value::Object(profile));
        }
    }
    Ok(Value::Object(profiles).to_string())
}
