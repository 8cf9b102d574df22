//! The public directory: the rooms that stand in it, with what they say of themselves
//! (client-server API, "Published room directory").

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use model::{RoomSerial, UserSerial, tables};
use ruma_common::{MxcUri, OwnedServerName, RoomAliasId};
use serde::Serialize;
use serde_json::{Map, Value};
use store::{Read, Snapshot, StoreError};

use crate::{EventReader, ReadError, Rooms, StateAt, Viewer, directory_order::Place};

/// Rooms of a page when the client does not say.
const DEFAULT_LIMIT: usize = 100;
/// The most rooms of a page.
const MAX_LIMIT: usize = 500;
/// The longest text that is searched for, in bytes.
const MAX_TERM_BYTES: usize = 1_024;
/// The most room types of a filter.
const MAX_ROOM_TYPES: usize = 100;

/// Which rooms are wanted.
#[derive(Clone, Debug, Default)]
pub struct PublicRoomsRequest {
    /// Whose directory; this server's if `None`.
    pub server: Option<OwnedServerName>,
    /// The most rooms wanted; at most 500 are given.
    pub limit: Option<usize>,
    /// A token of another page.
    pub since: Option<String>,
    /// What must stand in name, topic or canonical alias.
    pub search_term: Option<String>,
    /// Of which types, `None` being the type of rooms without one; any if empty.
    pub room_types: Vec<Option<String>>,
    /// Of which networks.
    pub networks: Networks,
    /// Who looks, if that is known.
    pub viewer: Option<UserSerial>,
}

/// Which networks' rooms are wanted: those of application services have lists of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Networks {
    /// The rooms of this server's own list.
    #[default]
    Matrix,
    /// The rooms of all lists.
    All,
    /// The rooms of one network, by its instance id.
    One(String),
}

/// A room as the directory shows it (client-server API, `PublishedRoomsChunk`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicRoom {
    /// The room's id.
    pub room_id: String,
    /// How many members have joined.
    pub num_joined_members: u64,
    /// Whether anybody may read it.
    pub world_readable: bool,
    /// Whether guests may join it.
    pub guest_can_join: bool,
    /// Who may join it.
    pub join_rule: String,
    /// Its main alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The URL of its avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
}

/// A page of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicRoomsPage {
    /// The rooms, those with the most members first.
    pub chunk: Vec<PublicRoom>,
    /// The token of the page after this one, if there is one.
    pub next_batch: Option<String>,
    /// The token of the page before this one, if there is one.
    pub prev_batch: Option<String>,
    /// How many rooms stand in the directory.
    pub total: usize,
}

/// A token: the rooms after a place, or those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    After(Place),
    Before(Place),
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let (members, room) = text.get(1..)?.split_once('_')?;
        let place = (
            Reverse(members.parse().ok()?),
            RoomSerial(room.parse().ok()?),
        );
        match text.get(..1)? {
            "n" => Some(Self::After(place)),
            "p" => Some(Self::Before(place)),
            _ => None,
        }
    }

    fn written(self) -> String {
        let (letter, (Reverse(members), room)) = match self {
            Self::After(place) => ('n', place),
            Self::Before(place) => ('p', place),
        };
        format!("{letter}{members}_{}", room.0)
    }
}

impl Rooms {
    /// A page of this server's directory. Everybody may see it.
    ///
    /// # Errors
    /// [`ReadError::Invalid`] for a token that is none of this server's;
    /// [`ReadError::NotFound`] for another server's directory.
    pub fn public_rooms(
        &self,
        view: &Snapshot,
        request: &PublicRoomsRequest,
    ) -> Result<PublicRoomsPage, ReadError> {
        if let Some(server) = &request.server
            && *server != self.inner.server_name
        {
            return Err(ReadError::NotFound(format!(
                "the directory of {server} cannot be read from here"
            )));
        }
        let since = request.since.as_deref().filter(|since| !since.is_empty());
        let since = since
            .map(|since| Token::parse(since).ok_or_else(foreign_token))
            .transpose()?;
        let directory = Directory {
            view,
            secret: self.inner.store.secret(),
            places: match &request.networks {
                Networks::Matrix => self.inner.directory.of(&self.inner.store, view)?,
                networks => Arc::new(places(view, networks)?),
            },
            filter: Filter::new(request)?,
        };
        let limit = match request.limit {
            None | Some(0) => DEFAULT_LIMIT,
            Some(limit) => limit.min(MAX_LIMIT),
        };
        directory.page(since, limit)
    }
}

fn foreign_token() -> ReadError {
    ReadError::Invalid("the token is none of this server's".to_owned())
}

/// All rooms in the lists of other networks that somebody is in, in the directory's order;
/// with [`Networks::All`] those of this one too.
fn places(view: &impl Read, networks: &Networks) -> Result<Vec<Place>, StoreError> {
    let mut rooms = BTreeSet::new();
    if matches!(networks, Networks::Matrix | Networks::All) {
        for row in view.scan(&tables::PUBLISHED_ROOM, &()) {
            rooms.insert(row?.0);
        }
    }
    match networks {
        Networks::Matrix => {}
        Networks::All => {
            for row in view.scan(&tables::PUBLISHED_ROOM_BY_NETWORK, &()) {
                rooms.insert(row?.0.1);
            }
        }
        Networks::One(instance) => {
            for row in view.scan(&tables::PUBLISHED_ROOM_BY_NETWORK, &(instance.clone(),)) {
                rooms.insert(row?.0.1);
            }
        }
    }
    let mut places = Vec::new();
    for room in rooms {
        let head = view.get(&tables::HEAD_BY_ROOM, &room)?.unwrap_or_default();
        if head.joined > 0 {
            places.push((Reverse(head.joined), room));
        }
    }
    places.sort_unstable();
    Ok(places)
}

/// What a client looks for.
struct Filter {
    /// In lower case.
    term: Option<String>,
    room_types: Vec<Option<String>>,
}

impl Filter {
    fn new(request: &PublicRoomsRequest) -> Result<Self, ReadError> {
        let term = request.search_term.as_deref().unwrap_or_default().trim();
        if term.len() > MAX_TERM_BYTES || request.room_types.len() > MAX_ROOM_TYPES {
            return Err(ReadError::Invalid("the filter is too long".to_owned()));
        }
        Ok(Self {
            term: Some(term.to_lowercase()).filter(|term| !term.is_empty()),
            room_types: request.room_types.clone(),
        })
    }

    fn allows<R: Read>(&self, facts: &Facts<'_, R>) -> Result<bool, ReadError> {
        if !self.room_types.is_empty() && !self.room_types.contains(&facts.room_type()?) {
            return Ok(false);
        }
        let Some(term) = &self.term else {
            return Ok(true);
        };
        for text in [facts.name()?, facts.canonical_alias()?, facts.topic()?] {
            if text.is_some_and(|text| text.to_lowercase().contains(term)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The directory for one request.
struct Directory<'a, R> {
    view: &'a R,
    secret: &'a [u8; 32],
    places: Arc<Vec<Place>>,
    filter: Filter,
}

impl<'a, R: Read> Directory<'a, R> {
    fn page(&self, since: Option<Token>, limit: usize) -> Result<PublicRoomsPage, ReadError> {
        let begin = match since {
            None => 0,
            Some(Token::After(place)) => self.places.partition_point(|other| *other <= place),
            Some(Token::Before(place)) => self.places.partition_point(|other| *other < place),
        };
        let mut found = Vec::new();
        let is_back = matches!(since, Some(Token::Before(_)));
        if is_back {
            self.gather(&mut found, self.places[..begin].iter().rev(), limit)?;
            found.reverse();
        } else {
            self.gather(&mut found, self.places[begin..].iter(), limit)?;
        }
        let (first, last) = match (found.first(), found.last()) {
            (Some((first, _)), Some((last, _))) => (*first, *last),
            _ => return self.empty_page(begin, since),
        };
        let before = self.places.partition_point(|other| *other < first);
        let after = self.places.partition_point(|other| *other <= last);
        Ok(PublicRoomsPage {
            next_batch: self
                .any(self.places[after..].iter())?
                .then(|| Token::After(last).written()),
            prev_batch: self
                .any(self.places[..before].iter().rev())?
                .then(|| Token::Before(first).written()),
            chunk: found.into_iter().map(|(_, room)| room).collect(),
            total: self.places.len(),
        })
    }

    /// A page without rooms: there may be some on the other side of its token.
    fn empty_page(&self, begin: usize, since: Option<Token>) -> Result<PublicRoomsPage, ReadError> {
        let mut page = PublicRoomsPage {
            total: self.places.len(),
            ..PublicRoomsPage::default()
        };
        match since {
            Some(Token::After(place)) if self.any(self.places[..begin].iter().rev())? => {
                // The room of the token itself is on that side.
                let (members, room) = place;
                let end = (members, RoomSerial(room.0.saturating_add(1)));
                page.prev_batch = Some(Token::Before(end).written());
            }
            Some(Token::Before(place)) if self.any(self.places[begin..].iter())? => {
                let (members, room) = place;
                let start = (members, RoomSerial(room.0.saturating_sub(1)));
                page.next_batch = Some(Token::After(start).written());
            }
            _ => {}
        }
        Ok(page)
    }

    fn facts(&self, room: RoomSerial) -> Result<Facts<'a, R>, ReadError> {
        // What a room says of itself is the same for all who look.
        let nobody = Viewer {
            user: UserSerial(0),
            device: None,
        };
        let reader = EventReader::new(self.view, room, self.secret, nobody, 0)?;
        Ok(Facts { reader })
    }

    fn gather<'p>(
        &self,
        found: &mut Vec<(Place, PublicRoom)>,
        places: impl Iterator<Item = &'p Place>,
        limit: usize,
    ) -> Result<(), ReadError> {
        for place in places {
            if found.len() == limit {
                break;
            }
            let facts = self.facts(place.1)?;
            if self.filter.allows(&facts)? {
                found.push((*place, facts.shown(place.0.0)?));
            }
        }
        Ok(())
    }

    fn any<'p>(&self, places: impl Iterator<Item = &'p Place>) -> Result<bool, ReadError> {
        for (_, room) in places {
            if self.filter.allows(&self.facts(*room)?)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a room's state says of it.
struct Facts<'a, R> {
    reader: EventReader<'a, R>,
}

impl<R: Read> Facts<'_, R> {
    fn content(&self, event_type: &str) -> Result<Map<String, Value>, ReadError> {
        let serial = StateAt::Current.get(&self.reader, event_type, "")?;
        let event = match serial {
            Some(serial) => self.reader.load(serial)?,
            None => None,
        };
        let content = event.map(|event| self.reader.content(&event)).transpose()?;
        Ok(content
            .and_then(|json| serde_json::from_str(&json).ok())
            .unwrap_or_default())
    }

    fn text(&self, event_type: &str, field: &str) -> Result<Option<String>, ReadError> {
        let content = self.content(event_type)?;
        let text = content.get(field).and_then(Value::as_str);
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    fn name(&self) -> Result<Option<String>, ReadError> {
        self.text("m.room.name", "name")
    }

    fn topic(&self) -> Result<Option<String>, ReadError> {
        Ok(plain_topic(&self.content("m.room.topic")?))
    }

    fn canonical_alias(&self) -> Result<Option<String>, ReadError> {
        let alias = self.text("m.room.canonical_alias", "alias")?;
        Ok(alias.filter(|alias| RoomAliasId::parse(alias).is_ok()))
    }

    fn room_type(&self) -> Result<Option<String>, ReadError> {
        self.text("m.room.create", "type")
    }

    fn shown(&self, num_joined_members: u64) -> Result<PublicRoom, ReadError> {
        let is = |event_type: &str, field: &str, value: &str| {
            Ok::<_, ReadError>(self.text(event_type, field)?.as_deref() == Some(value))
        };
        let join_rule = self.text("m.room.join_rules", "join_rule")?;
        let avatar_url = self.text("m.room.avatar", "url")?;
        Ok(PublicRoom {
            room_id: self.reader.room_id.clone(),
            num_joined_members,
            world_readable: is(
                "m.room.history_visibility",
                "history_visibility",
                "world_readable",
            )?,
            guest_can_join: is("m.room.guest_access", "guest_access", "can_join")?,
            join_rule: join_rule.unwrap_or_else(|| "invite".to_owned()),
            canonical_alias: self.canonical_alias()?,
            name: self.name()?,
            topic: self.topic()?,
            avatar_url: avatar_url.filter(|url| <&MxcUri>::from(url.as_str()).is_valid()),
            room_type: self.room_type()?,
        })
    }
}

/// The plain text of a topic: of its representations the first that is plain, else what
/// older clients read.
fn plain_topic(content: &Map<String, Value>) -> Option<String> {
    let representations = content.get("m.topic").and_then(|topic| topic.get("m.text"));
    let plain = representations.and_then(Value::as_array).and_then(|all| {
        let is_plain = |one: &&Value| match one.get("mimetype") {
            None => true,
            Some(mimetype) => mimetype == "text/plain",
        };
        all.iter().find(is_plain)?.get("body")
    });
    let text = plain.or_else(|| content.get("topic"))?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_come_back() {
        let place = (Reverse(12), RoomSerial(34));
        for token in [Token::After(place), Token::Before(place)] {
            assert_eq!(Token::parse(&token.written()), Some(token));
        }
        for text in ["", "n", "n1", "x1_2", "n-1_2", "n1_2_3", "ñ1_2"] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_a_topic_the_plain_text_is_shown() {
        let text = |content: Value| plain_topic(content.as_object().unwrap());
        let html = json!({ "mimetype": "text/html", "body": "<b>x</b>" });
        let plain = json!({ "body": "x" });
        for (content, expected) in [
            (json!({}), None),
            (json!({ "topic": "" }), None),
            (json!({ "topic": 1 }), None),
            (json!({ "topic": "old" }), Some("old")),
            (
                json!({ "topic": "old", "m.topic": { "m.text": [html, plain] } }),
                Some("x"),
            ),
            (
                json!({ "topic": "old", "m.topic": { "m.text": [html] } }),
                Some("old"),
            ),
        ] {
            assert_eq!(text(content).as_deref(), expected);
        }
    }
}
