//! `/sync` (client-server API, "Syncing").

use std::time::Duration;

use accounts::Session;
use bytes::Bytes;
use model::{UserSerial, user_scope};
use rooms::{EventFilter, Viewer};
use ruma_client_api::filter::{FilterDefinition, LazyLoadOptions, RoomEventFilter};
use ruma_common::presence::PresenceState;
use store::{Position, Scope, Snapshot, Watch};
use tokio::time::Instant;

use crate::{
    Sync, SyncError, SyncToken, device_lists,
    json::{Composer, events, quoted, strings},
    room::RoomView,
    window::{Window, scopes},
};

/// Events of a room's timeline when the client does not say.
const DEFAULT_LIMIT: usize = 10;
/// The most events of a room's timeline.
pub(crate) const LIMIT: usize = 1000;
/// In how many places there may be news that are little.
const LITTLE: usize = 4;
/// The longest wait for news.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What `/sync` was asked.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// The filter, already looked up.
    pub filter: FilterDefinition,
    /// The token of the answer before; none for a first sync.
    pub since: Option<String>,
    /// Whether the whole state of every room is wanted.
    pub full_state: bool,
    /// How long to wait for news.
    pub timeout: Duration,
    /// Whether state is wanted as of the timeline's end.
    pub use_state_after: bool,
    /// How the user wants to be shown meanwhile.
    pub set_presence: PresenceState,
}

/// One computation of an answer.
struct Answer {
    json: String,
    /// Whether it tells the client anything.
    has_news: bool,
}

/// What is asked, with its filters ready.
pub(crate) struct Question {
    pub(crate) session: Session,
    pub(crate) since: Option<SyncToken>,
    pub(crate) view: RoomView,
    /// Which rooms are wanted at all.
    pub(crate) rooms: EventFilter,
    /// Which of the account's own data is wanted.
    pub(crate) account_data: EventFilter,
    pub(crate) include_leave: bool,
    /// Whose presence is wanted.
    pub(crate) presence: EventFilter,
}

impl Question {
    fn new(session: &Session, since: Option<SyncToken>, request: SyncRequest) -> Self {
        let filter = request.filter;
        let room = filter.room;
        let limit = room.timeline.limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(u64::from(limit)).unwrap_or(LIMIT)
        });
        let lazy = |options: &LazyLoadOptions| matches!(options, LazyLoadOptions::Enabled { .. });
        let view = RoomView {
            timeline: EventFilter::from(&room.timeline),
            limit: limit.min(LIMIT),
            state: EventFilter::from(&room.state),
            ephemeral: EventFilter::from(&room.ephemeral),
            account_data: EventFilter::from(&room.account_data),
            lazy_members: lazy(&room.state.lazy_load_options)
                || lazy(&room.timeline.lazy_load_options),
            unread_threads: room.timeline.unread_thread_notifications,
            full_state: request.full_state,
            state_after: request.use_state_after,
            fields: filter.event_fields,
        };
        let mut rooms = RoomEventFilter::default();
        rooms.rooms = room.rooms;
        rooms.not_rooms = room.not_rooms;
        let mut account_data = RoomEventFilter::default();
        account_data.types = filter.account_data.types;
        account_data.not_types = filter.account_data.not_types;
        let mut presence = RoomEventFilter::default();
        presence.types = filter.presence.types;
        presence.not_types = filter.presence.not_types;
        presence.senders = filter.presence.senders;
        presence.not_senders = filter.presence.not_senders;
        Self {
            presence: EventFilter::from(&presence),
            session: session.clone(),
            since,
            view,
            rooms: EventFilter::from(&rooms),
            account_data: EventFilter::from(&account_data),
            include_leave: room.include_leave,
        }
    }

    /// Who looks.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer {
            user: self.session.user,
            device: Some(self.session.device),
        }
    }
}

impl Sync {
    /// Answers `/sync` with its JSON: at once if there is news, else as soon as there
    /// is, else empty after the timeout.
    ///
    /// To-device messages up to the token's place are confirmed by it, and deleted.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] for a token that is none.
    pub async fn sync(&self, session: &Session, request: SyncRequest) -> Result<Bytes, SyncError> {
        let since = self.since(request.since.as_deref())?;
        if let Some(since) = since {
            self.inner
                .accounts
                .acknowledge(session.device, since.to_device)
                .await?;
            self.confirm(session.device, since.to_device);
        }
        let _present = self.present(session, request.set_presence.clone()).await?;
        let deadline = Instant::now() + request.timeout.min(LONGEST_WAIT);
        let immediate = since.is_none() || request.full_state || request.timeout.is_zero();
        let question = std::sync::Arc::new(Question::new(session, since, request));
        let (user, device) = (session.user, session.device);
        let mut watched: Option<(Vec<Scope>, Watch)> = None;
        loop {
            let snapshot = self.inner.store.snapshot();
            let scopes = scopes(&self.inner.rooms, &snapshot, user, device)?;
            drop(snapshot);
            watched = watched.filter(|(of, _)| *of == scopes);
            let mut told = None;
            if immediate || !self.is_quiet(since, &scopes) {
                let is_little = self.is_little_news(&question, &scopes);
                let answer = self.answer(question.clone(), is_little).await?;
                if immediate || answer.has_news {
                    return Ok(Bytes::from(answer.json));
                }
                told = Some(answer);
            }
            // Subscribe first, read second: what comes between is not missed. Who finds news
            // at once need not subscribe.
            let Some((_, watch)) = &mut watched else {
                watched = Some((scopes.clone(), self.inner.store.watch(&scopes)));
                continue;
            };
            if self.wait(watch, deadline).await {
                continue;
            }
            let answer = match told {
                Some(answer) => answer,
                None => self.answer(question, true).await?,
            };
            return Ok(Bytes::from(answer.json));
        }
    }

    /// Waits for a change; `false` if the time is over or the server stops.
    pub(crate) async fn wait(&self, watch: &mut Watch, deadline: Instant) -> bool {
        tokio::select! {
            () = watch.changed() => true,
            () = tokio::time::sleep_until(deadline) => false,
            () = self.inner.stop.stopped() => false,
        }
    }

    /// Whether certainly nothing has changed since: known without a read.
    fn is_quiet(&self, since: Option<SyncToken>, scopes: &[Scope]) -> bool {
        since.is_some_and(|since| {
            // With fewer to-device messages than there were, more are waiting.
            since.to_device >= since.position
                && self.inner.rooms.typing_sequence() <= since.ephemeral
                && !self.inner.store.any_changed_since(scopes, since.position)
        })
    }

    /// Whether what is new for a client is certainly little: nothing of the user's own, and
    /// in few places.
    fn is_little_news(&self, question: &Question, scopes: &[Scope]) -> bool {
        question.since.is_some_and(|since| {
            self.is_little(
                question.session.user,
                scopes.iter().copied(),
                since.position,
            )
        })
    }

    /// The same of what may have changed after `since` for a user.
    pub(crate) fn is_little(
        &self,
        user: UserSerial,
        scopes: impl IntoIterator<Item = Scope>,
        since: Position,
    ) -> bool {
        let changed = self.inner.store.changed_among(scopes, since);
        changed.len() <= LITTLE && !changed.contains(&user_scope(user))
    }

    fn since(&self, text: Option<&str>) -> Result<Option<SyncToken>, SyncError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let token = SyncToken::parse(text)
            .ok_or_else(|| SyncError::Invalid("the since token is not one of ours".to_owned()))?;
        // A database that was restored since cannot say what the client knows: it
        // starts anew.
        Ok(Some(token).filter(|token| token.epoch == self.inner.store.epoch()))
    }

    async fn answer(
        &self,
        question: std::sync::Arc<Question>,
        is_little: bool,
    ) -> Result<Answer, SyncError> {
        let sync = self.clone();
        if is_little && !question.view.full_state {
            let compute = move |snapshot: &Snapshot| sync.compute(snapshot, &question);
            return self.inner.store.read_quickly(compute).await;
        }
        // A first sync may read every room: it has a lane where it delays nobody.
        if question.since.is_none() || question.view.full_state {
            let compute = move |snapshot: &Snapshot| sync.compute(snapshot, &question);
            self.inner.store.read_long(compute).await
        } else {
            let compute = move |snapshot: &Snapshot| sync.compute(snapshot, &question);
            self.inner.store.read(compute).await
        }
    }

    fn compute(&self, snapshot: &Snapshot, question: &Question) -> Result<Answer, SyncError> {
        let store = &self.inner.store;
        let since = question.since.map(|token| token.position);
        let session = &question.session;
        let window = Window::read(&self.inner.rooms, snapshot, since, session.user)?;
        let ephemeral = self.inner.rooms.typing_sequence();
        let mut answer = Composer::object();
        let mut has_news = false;

        let mut rooms = Composer::object();
        self.joined_rooms(question, &window, &mut rooms)?;
        self.outside_rooms(question, &window, &mut rooms)?;
        self.left_rooms(question, &window, &mut rooms)?;
        if !rooms.is_empty() {
            has_news = true;
            answer.field("rooms", &rooms.finish());
        }
        let allows = |name: &str| question.account_data.allows_type(name);
        let data = self.account_data(&window, allows)?;
        if !data.is_empty() {
            has_news = true;
            answer.field("account_data", &events(&data));
        }
        let presence = self.presence(question, &window)?;
        if !presence.is_empty() {
            has_news = true;
            answer.field("presence", &events(&presence));
        }
        let to_device = self.to_device(question, snapshot, &mut answer)?;
        has_news |= to_device.is_some();
        let lists = device_lists::changes(store, &window, snapshot.position())?;
        if !lists.is_empty() {
            has_news = true;
            let mut part = Composer::object();
            part.field("changed", &strings(&lists.changed))
                .field("left", &strings(&lists.left));
            answer.field("device_lists", &part.finish());
        }
        has_news |= self.key_counts(session.device, &window, &mut answer)?;
        let next = SyncToken {
            epoch: store.epoch(),
            position: snapshot.position(),
            to_device: to_device.unwrap_or(snapshot.position()),
            ephemeral,
        };
        answer.field("next_batch", &quoted(&next.to_string()));
        Ok(Answer {
            json: answer.finish(),
            has_news,
        })
    }
}
