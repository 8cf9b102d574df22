//! Simplified sliding sync (MSC4186, under its unstable name): the rooms that a client
//! asks for, as many of them and as much of each as it wants, and afterwards only what
//! changed.
//!
//! `lists` says which rooms an answer is about, `room` writes one of them, `extensions`
//! what is no room. What a client has been told stands in `known`, which belongs to one
//! of its `connections`.

mod connections;
mod extensions;
mod facts;
mod followed;
mod known;
mod lists;
mod request;
mod required;
mod room;
mod states;
mod sticky;
mod thread_subscriptions;

pub(crate) use connections::Connections;
pub(crate) use facts::{RoomFactsCache, UserFactsCache};
pub use request::{
    Extensions, Filters, ListRequest, RoomRequest, ScopedRequest, SlidingRequest, ToDeviceRequest,
};
pub(crate) use states::StateCache;
pub use sticky::StickyRequest;
pub use thread_subscriptions::SubscriptionsRequest;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use accounts::Session;
use bytes::Bytes;
use model::{EventSerial, RoomSerial};
use rooms::Viewer;
use store::{Position, Scope, Snapshot, Store};
use tokio::time::Instant;

use self::{
    connections::{Visit, Watching, token},
    facts::UserFacts,
    known::Known,
    lists::{RoomConfig, capped},
    required::RequiredState,
};
use crate::{
    Sync, SyncError,
    json::{Composer, quoted},
    token::{SlidingToken, ToDeviceToken},
    v3::LONGEST_WAIT,
    window::scopes_of,
};

/// What is asked, ready to be answered.
pub(crate) struct Question {
    pub(crate) session: Session,
    pub(crate) lists: Vec<List>,
    /// Room ids, and what is wanted of the rooms.
    pub(crate) subscriptions: Vec<(String, RoomConfig)>,
    pub(crate) extensions: Extensions,
    /// Up to where the device says that it has its messages.
    to_device: Option<Position>,
    txn_id: Option<String>,
    /// Stands for all of it that chooses what is told.
    fingerprint: u64,
}

/// A list that is asked for.
pub(crate) struct List {
    pub(crate) name: String,
    pub(crate) asked: ListRequest,
    pub(crate) config: RoomConfig,
}

/// An answer is being made: for whom, of what.
pub(crate) struct Asking<'a> {
    pub(crate) question: &'a Question,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) user: &'a UserFacts,
    /// What was told before; none on a new connection.
    pub(crate) before: Option<&'a Known>,
    /// The rooms that changed since, if no other has anything to be told.
    pub(crate) changed: Option<Vec<RoomSerial>>,
}

impl Asking<'_> {
    /// Who looks.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer {
            user: self.question.session.user,
            device: Some(self.question.session.device),
        }
    }
}

/// An answer but for its token.
struct Answer {
    json: Composer,
    known: Known,
    has_news: bool,
}

/// How a wait ended.
enum Woken {
    /// Something changed.
    Changed,
    /// The time is over, or the server stops.
    Over,
    /// The client has sent another request on the same connection.
    Superseded,
}

impl Question {
    fn new(session: &Session, store: &Store, request: SlidingRequest) -> Self {
        let mut hasher = DefaultHasher::new();
        let extensions = request.extensions;
        request.lists.hash(&mut hasher);
        request.room_subscriptions.hash(&mut hasher);
        extensions.to_device.enabled.hash(&mut hasher);
        extensions.e2ee.hash(&mut hasher);
        extensions.account_data.hash(&mut hasher);
        extensions.receipts.hash(&mut hasher);
        extensions.typing.hash(&mut hasher);
        extensions.sticky.enabled.hash(&mut hasher);
        extensions.subscriptions.enabled.hash(&mut hasher);
        let me = session.user_id.as_str();
        let config = |room: &RoomRequest| RoomConfig {
            limit: capped(room.timeline_limit),
            required: Arc::new(RequiredState::new(&room.required_state, me)),
        };
        let lists = request.lists.into_iter().map(|(name, asked)| List {
            name,
            config: config(&asked.room),
            asked,
        });
        let subscriptions = request.room_subscriptions.into_iter();
        // A token of another life of the database confirms nothing, nor does any token
        // confirm what is yet to come.
        let since = extensions.to_device.since.as_deref();
        let since = since.and_then(ToDeviceToken::parse);
        Self {
            session: session.clone(),
            lists: lists.collect(),
            subscriptions: subscriptions
                .map(|(room_id, room)| {
                    let config = config(&room);
                    (room_id, config)
                })
                .collect(),
            to_device: extensions
                .to_device
                .enabled
                .then(|| since.filter(|since| since.epoch == store.epoch()))
                .map(|since| since.map_or(Position(0), |since| since.position))
                .map(|since| since.min(store.snapshot().position())),
            extensions,
            txn_id: request.txn_id,
            fingerprint: hasher.finish(),
        }
    }
}

impl Sync {
    /// Answers a sliding sync with its JSON: at once if there is news, or if the
    /// connection is new, else as soon as there is, else empty after the timeout.
    ///
    /// To-device messages up to the given token are confirmed by it, and deleted.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] if too much is asked; [`SyncError::UnknownPosition`] if the
    /// connection is not known to stand at `pos`.
    pub async fn sliding(
        &self,
        session: &Session,
        request: SlidingRequest,
    ) -> Result<Bytes, SyncError> {
        request.check()?;
        let since = self.sliding_position(request.pos.as_deref())?;
        let deadline = Instant::now() + request.timeout.min(LONGEST_WAIT);
        let conn_id = request.conn_id.clone().unwrap_or_default();
        let mut visit = self.inner.connections.visit(session, &conn_id, since)?;
        let waits = visit.base.is_some() && !request.timeout.is_zero();
        let question = Arc::new(Question::new(session, &self.inner.store, request));
        if let Some(up_to) = question.to_device {
            let device = session.device;
            self.inner.accounts.acknowledge(device, up_to).await?;
            self.confirm(device, up_to);
        }
        let mut known = visit.base.as_ref().map(|(_, known)| known.clone());
        loop {
            // Subscribe first, read second: what comes between is not missed.
            visit.watching = self.watch_for(
                &question,
                known.as_deref().filter(|_| waits),
                visit.watching.take(),
            )?;
            if let (Some(watching), Some(before)) = (&visit.watching, &known)
                && self.is_unchanged(&question, before, &watching.scopes)
            {
                match self.wait_for(&mut visit, deadline).await {
                    Woken::Changed => continue,
                    Woken::Over => {}
                    Woken::Superseded => return Ok(self.nothing(&visit)),
                }
            }
            let watching = visit.watching.as_ref();
            let is_little = watching
                .zip(known.as_deref())
                .is_some_and(|(watching, known)| self.is_little_change(known, watching, &question));
            let answer = self
                .told(question.clone(), known.clone(), is_little)
                .await?;
            if visit.watching.is_some() && !answer.has_news {
                match self.wait_for(&mut visit, deadline).await {
                    Woken::Changed => {
                        // There was nothing to be told up to there.
                        known = Some(Arc::new(answer.known));
                        continue;
                    }
                    Woken::Over => {}
                    Woken::Superseded => return Ok(self.nothing(&visit)),
                }
            }
            return Ok(self.finished(session, &mut visit, answer));
        }
    }

    fn sliding_position(&self, text: Option<&str>) -> Result<Option<SlidingToken>, SyncError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        SlidingToken::parse(text)
            .filter(|token| token.epoch == self.inner.store.epoch())
            .map(Some)
            .ok_or(SyncError::UnknownPosition)
    }

    /// A subscription to all that can be news: the one of before, if that is the same.
    fn watch_for(
        &self,
        question: &Question,
        known: Option<&Known>,
        earlier: Option<Watching>,
    ) -> Result<Option<Watching>, SyncError> {
        let Some(known) = known else {
            return Ok(None);
        };
        let store = &self.inner.store;
        let snapshot = store.snapshot();
        let (user, device) = (question.session.user, question.session.device);
        let facts = self
            .inner
            .users
            .of(&self.inner.rooms, &snapshot, user, Some(&known.user))?;
        let memberships = facts.memberships;
        if let Some(earlier) = earlier.filter(|one| one.suits(&memberships, question.fingerprint)) {
            return Ok(Some(earlier));
        }
        let mut scopes = scopes_of(&memberships, user, device);
        if question.lists.is_empty() && !question.extensions.e2ee.enabled {
            // Only what happens in the rooms themselves is news.
            let mut wanted = Vec::new();
            for (room_id, _) in &question.subscriptions {
                wanted.extend(rooms::room_serial(&snapshot, room_id)?.map(model::room_scope));
            }
            let of_rooms = model::room_scope(RoomSerial(0)).kind;
            scopes.retain(|scope| scope.kind != of_rooms || wanted.contains(scope));
        }
        let asked = question.fingerprint;
        Ok(Some(Watching::new(store, scopes, memberships, asked)))
    }

    /// Whether certainly nothing has changed since, nor what is asked: known without a
    /// read.
    fn is_unchanged(&self, question: &Question, known: &Known, scopes: &[Scope]) -> bool {
        let store = &self.inner.store;
        known.asked == question.fingerprint
            // With fewer to-device messages than there were, more may be waiting.
            && question.to_device.is_none_or(|since| since >= known.position)
            && (known.untold_receipts.is_empty() || !question.extensions.receipts.enabled)
            && self.inner.rooms.typing_sequence() <= known.ephemeral
            && !store.any_changed_since(scopes, known.position)
    }

    /// Whether what is new is certainly little, and about what was asked for before.
    fn is_little_change(&self, known: &Known, watching: &Watching, question: &Question) -> bool {
        let scopes = watching.scopes.iter().copied();
        known.asked == question.fingerprint
            && self.is_little(question.session.user, scopes, known.position)
    }

    async fn wait_for(&self, visit: &mut Visit, deadline: Instant) -> Woken {
        let Some(mut watching) = visit.watching.take() else {
            return Woken::Over;
        };
        let woken = tokio::select! {
            changed = self.wait(&mut watching.watch, deadline) => {
                if changed { Woken::Changed } else { Woken::Over }
            }
            () = visit.superseded() => Woken::Superseded,
        };
        visit.watching = Some(watching);
        woken
    }

    /// The answer to a request that its client has given up: it stands where it stood.
    fn nothing(&self, visit: &Visit) -> Bytes {
        let mut json = Composer::object();
        if let Some((answer, known)) = &visit.base {
            let token = token(self.inner.store.epoch(), *answer, known.position);
            json.field("pos", &quoted(&token.to_string()));
        }
        Bytes::from(json.finish())
    }

    /// Leaves an answer with its connection and gives it its token.
    fn finished(&self, session: &Session, visit: &mut Visit, mut answer: Answer) -> Bytes {
        let position = answer.known.position;
        let number = self.inner.connections.leave(session, visit, answer.known);
        let token = token(self.inner.store.epoch(), number, position);
        answer.json.field("pos", &quoted(&token.to_string()));
        Bytes::from(answer.json.finish())
    }

    async fn told(
        &self,
        question: Arc<Question>,
        known: Option<Arc<Known>>,
        is_little: bool,
    ) -> Result<Answer, SyncError> {
        let sync = self.clone();
        if is_little {
            let compute =
                move |snapshot: &Snapshot| sync.tell(snapshot, &question, known.as_deref());
            return self.inner.store.read_quickly(compute).await;
        }
        let same = |known: &Arc<Known>| known.asked == question.fingerprint;
        let is_short = known.as_ref().is_some_and(same);
        let compute = move |snapshot: &Snapshot| {
            if known.is_none() {
                let now = sync.inner.clock.now();
                sync.inner.connections.sweep(snapshot, now)?;
            }
            sync.tell(snapshot, &question, known.as_deref())
        };
        // An answer to something new may read every room: it has a lane where it delays
        // nobody.
        match is_short {
            true => self.inner.store.read(compute).await,
            false => self.inner.store.read_long(compute).await,
        }
    }

    /// What is to be told after `before`.
    fn tell(
        &self,
        snapshot: &Snapshot,
        question: &Question,
        before: Option<&Known>,
    ) -> Result<Answer, SyncError> {
        // What changes from here on has a higher number.
        let ephemeral = self.inner.rooms.typing_sequence();
        let user = question.session.user;
        let user_before = before.map(|known| &known.user);
        let rooms = &self.inner.rooms;
        let user = self.inner.users.of(rooms, snapshot, user, user_before)?;
        let mut known = before.cloned().unwrap_or_default();
        let changed = match before {
            Some(before) => self.only_changed(question, snapshot, &user, before)?,
            None => None,
        };
        let kept = known.selection.clone().filter(|_| changed.is_some());
        let selection = match kept {
            Some(selection) => selection,
            None => Arc::new(self.select(question, snapshot, &user, &known)?),
        };
        let asking = Asking {
            question,
            snapshot,
            user: &user,
            before,
            changed,
        };
        let mut rooms = Composer::object();
        let mut fresh: HashMap<RoomSerial, Vec<EventSerial>> = HashMap::new();
        for (room, config) in selection.among(asking.changed.as_deref()) {
            let told = known.rooms.get(*room).map(Arc::as_ref);
            let Some(mut part) = self.room_part(&asking, *room, config, told)? else {
                continue;
            };
            // Where a room begins anew, the client may still show who typed there before.
            let shown = told.is_some_and(|told| told.typing.is_some());
            part.known.typing = part.known.typing.or(shown.then_some(0));
            if let Some(json) = &part.json {
                rooms.field(&part.room_id, json);
            }
            if let Some(events) = part.fresh {
                fresh.insert(*room, events);
            }
            known.rooms.insert(*room, part.known);
        }
        known.selection = Some(selection.clone());
        let mut extensions = Composer::object();
        let mut has_news = !rooms.is_empty();
        has_news |= self.extend(&asking, &selection, &fresh, &mut known, &mut extensions)?;
        known.rooms.settle();
        known.position = snapshot.position();
        known.ephemeral = ephemeral;
        known.asked = question.fingerprint;
        known.user = user.clone();

        let mut lists = Composer::object();
        for (name, count) in &selection.counts {
            lists.field(name, &format!("{{\"count\":{count}}}"));
        }
        let mut json = Composer::object();
        if let Some(txn_id) = &question.txn_id {
            json.field("txn_id", &quoted(txn_id));
        }
        json.field("lists", &lists.finish())
            .field("rooms", &rooms.finish())
            .field("extensions", &extensions.finish());
        Ok(Answer {
            json,
            known,
            has_news,
        })
    }
}
