//! Who is sent to now: which servers have something waiting, and how many couriers work
//! at a time.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use peers::Standing;
use prometheus::IntGaugeVec;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Metrics, Stop, Timestamp};
use tokio::sync::{Notify, broadcast::error::RecvError};

use super::Federation;

/// Couriers that begin at the same time.
const WIDTH: usize = 64;
/// How many of these may be with servers of which it is not known that they answer: they may
/// take long, and the others must not wait for them.
const SUSPECTS: usize = 32;
/// Who has waited so long for an answer gives up the place among those who begin.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How many couriers may wait so long: no server is tried for the first time, or again, while…
const SLOW_SUSPECTS: usize = 256;
/// …there are so many, and none at all while there are so many.
const SLOW: usize = 512;
/// The longest pause before it is looked whose time has come.
const LOOK: Duration = Duration::from_secs(1);
/// The same while nobody rests.
const QUIET: Duration = Duration::from_secs(60);
/// The first wait before a server that refuses what it is sent is tried again.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// How long a server is left alone whose courier came to grief.
const LOST: Duration = Duration::from_secs(60);

/// How a courier's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing waits.
    Idle,
    /// Something waits, and others are to have a turn.
    More {
        /// Whether the server has not yet caught up.
        is_behind: bool,
    },
    /// The server does not answer.
    Unreachable,
    /// The server answers, and takes nothing.
    Refused,
    /// Something went wrong here.
    Lost,
}

/// A turn to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) server: OwnedServerName,
    /// Whether the server was away, so that the newest of each room is enough.
    pub(super) is_behind: bool,
    /// How often it has refused what it is sent, one time after the other.
    pub(super) refusals: u32,
}

#[derive(Debug)]
enum Phase {
    Due,
    Sending {
        since: Timestamp,
        place: Place,
        has_news: bool,
    },
    Resting(Timestamp),
}

/// Where a courier counts that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With a server that answers.
    Proven,
    /// With one of which that is not known.
    Suspect,
    /// With one that has not answered for a while.
    Slow,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    refusals: u32,
    is_behind: bool,
}

#[derive(Default)]
struct State {
    servers: HashMap<OwnedServerName, Entry>,
    due: VecDeque<OwnedServerName>,
    resting: BTreeSet<(Timestamp, OwnedServerName)>,
    /// Those who are sent to, and have not waited long.
    beginning: BTreeSet<(Timestamp, OwnedServerName)>,
    /// How many of these are suspects.
    suspects: usize,
    slow: usize,
}

impl State {
    fn make_due(&mut self, server: OwnedServerName) {
        if let Some(entry) = self.servers.get_mut(&server) {
            entry.phase = Phase::Due;
            self.due.push_back(server);
        }
    }

    fn rest(&mut self, server: OwnedServerName, until: Timestamp) {
        if let Some(entry) = self.servers.get_mut(&server) {
            entry.phase = Phase::Resting(until);
            self.resting.insert((until, server));
        }
    }

    /// Lets those go on whose time has come.
    fn wake(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.resting.first()
            && *until <= now
            && let Some((_, server)) = self.resting.pop_first()
        {
            self.make_due(server);
        }
    }

    /// Whether a courier may go to a server.
    fn has_place(&self, is_suspect: bool) -> bool {
        match is_suspect {
            true => self.suspects < SUSPECTS && self.suspects + self.slow < SLOW_SUSPECTS,
            false => true,
        }
    }

    fn begin(&mut self, server: &OwnedServerName, is_suspect: bool, now: Timestamp) {
        if let Some(entry) = self.servers.get_mut(server) {
            entry.phase = Phase::Sending {
                since: now,
                place: match is_suspect {
                    true => Place::Suspect,
                    false => Place::Proven,
                },
                has_news: false,
            };
            self.suspects += usize::from(is_suspect);
            self.beginning.insert((now, server.clone()));
        }
    }

    /// Makes room for others where an answer is long in coming.
    fn set_aside(&mut self, now: Timestamp) {
        while let Some((since, _)) = self.beginning.first()
            && since.plus(SLOW_AFTER) <= now
            && let Some((_, server)) = self.beginning.pop_first()
        {
            if let Some(entry) = self.servers.get_mut(&server)
                && let Phase::Sending { place, .. } = &mut entry.phase
            {
                self.suspects -= usize::from(*place == Place::Suspect);
                *place = Place::Slow;
                self.slow += 1;
            }
        }
    }

    /// A courier gives up its place.
    fn leave(&mut self, server: &OwnedServerName, since: Timestamp, place: Place) {
        self.beginning.remove(&(since, server.clone()));
        match place {
            Place::Proven => {}
            Place::Suspect => self.suspects -= 1,
            Place::Slow => self.slow -= 1,
        }
    }
}

/// The servers that have something waiting, and no others.
pub(super) struct Schedule {
    state: Mutex<State>,
    news: Notify,
    gauge: IntGaugeVec,
}

impl Schedule {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let gauge = metrics.gauge_with(
            "cairn_federation_destinations",
            "Servers for which something waits: due, being sent to, left alone for now.",
            &["state"],
        );
        Self {
            state: Mutex::default(),
            news: Notify::new(),
            gauge,
        }
    }

    /// There is something for a server.
    pub(super) fn ring(&self, server: OwnedServerName) {
        let mut state = self.state.lock();
        match state.servers.get_mut(&server) {
            Some(entry) => {
                if let Phase::Sending { has_news, .. } = &mut entry.phase {
                    *has_news = true;
                }
                return;
            }
            None => {
                let entry = Entry {
                    phase: Phase::Due,
                    refusals: 0,
                    is_behind: false,
                };
                state.servers.insert(server.clone(), entry);
                state.due.push_back(server);
            }
        }
        self.measure(&state);
        self.news.notify_one();
    }

    /// A server need not be left alone any longer.
    fn returned(&self, server: &ServerName) {
        let mut state = self.state.lock();
        let Some(entry) = state.servers.get_mut(server) else {
            return;
        };
        if let Phase::Resting(until) = entry.phase {
            entry.refusals = 0;
            state.resting.remove(&(until, server.to_owned()));
            state.make_due(server.to_owned());
        }
    }

    /// Those who were left alone may all be looked at.
    fn all_returned(&self) {
        self.state.lock().wake(Timestamp(u64::MAX));
    }

    /// Takes the turns that can be had now. `left_alone` says until when a server is, and
    /// `standing` what was seen of it last.
    fn turns(
        &self,
        now: Timestamp,
        left_alone: impl Fn(&ServerName) -> Option<Timestamp>,
        standing: impl Fn(&ServerName) -> Standing,
    ) -> Vec<Turn> {
        let mut state = self.state.lock();
        state.wake(now);
        state.set_aside(now);
        let mut turns = Vec::new();
        let mut waiting = VecDeque::new();
        while state.beginning.len() < WIDTH
            && state.slow < SLOW
            && let Some(server) = state.due.pop_front()
        {
            if let Some(until) = left_alone(&server) {
                state.rest(server, until);
                continue;
            }
            let Some(entry) = state.servers.get_mut(&server) else {
                continue;
            };
            let standing = standing(&server);
            let is_suspect = standing != Standing::Answers || entry.refusals > 0;
            entry.is_behind |= standing == Standing::Fails;
            let turn = Turn {
                server: server.clone(),
                is_behind: entry.is_behind,
                refusals: entry.refusals,
            };
            if state.has_place(is_suspect) {
                state.begin(&server, is_suspect, now);
                turns.push(turn);
            } else {
                waiting.push_back(server);
            }
        }
        // They were first, and stay it.
        while let Some(server) = waiting.pop_back() {
            state.due.push_front(server);
        }
        self.measure(&state);
        turns
    }

    /// From here on a courier sees what was there before.
    pub(super) fn begin(&self, server: &ServerName) {
        if let Some(entry) = self.state.lock().servers.get_mut(server)
            && let Phase::Sending { has_news, .. } = &mut entry.phase
        {
            *has_news = false;
        }
    }

    /// A turn is over. `until` is when a server is tried again that does not answer.
    fn ended(&self, server: OwnedServerName, ending: Ending, until: Timestamp) {
        let mut state = self.state.lock();
        let Some(entry) = state.servers.get_mut(&server) else {
            return;
        };
        let Phase::Sending {
            since,
            place,
            has_news,
        } = entry.phase
        else {
            return;
        };
        match ending {
            Ending::Idle | Ending::More { .. } => entry.refusals = 0,
            Ending::Refused => entry.refusals = entry.refusals.saturating_add(1),
            Ending::Unreachable | Ending::Lost => {}
        }
        entry.is_behind = match ending {
            Ending::Idle => false,
            Ending::More { is_behind } => is_behind,
            Ending::Unreachable | Ending::Refused => true,
            Ending::Lost => entry.is_behind,
        };
        state.leave(&server, since, place);
        match ending {
            Ending::Idle if !has_news => {
                state.servers.remove(&server);
            }
            Ending::Idle | Ending::More { .. } => state.make_due(server),
            Ending::Unreachable | Ending::Refused | Ending::Lost => state.rest(server, until),
        }
        self.measure(&state);
        self.news.notify_one();
    }

    /// How long until it must be looked again.
    fn pause(&self) -> Duration {
        let state = self.state.lock();
        let is_quiet = state.resting.is_empty() && state.beginning.is_empty();
        if is_quiet { QUIET } else { LOOK }
    }

    fn measure(&self, state: &State) {
        for (name, number) in [
            ("due", state.due.len()),
            ("sending", state.beginning.len() + state.slow),
            ("left_alone", state.resting.len()),
        ] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.gauge.with_label_values(&[name]).set(number);
        }
    }
}

/// A courier's turn: however it ends, that is noted.
pub(super) struct Running {
    federation: Federation,
    pub(super) turn: Turn,
    pub(super) ending: Ending,
}

impl Drop for Running {
    fn drop(&mut self) {
        let inner = &self.federation.inner;
        let now = inner.parts.clock.now();
        let server = self.turn.server.clone();
        let until = match self.ending {
            // Who is not left alone by now was heard from meanwhile, or has not been
            // asked: a second keeps the two from chasing each other.
            Ending::Unreachable => {
                let until = inner.parts.peers.left_alone_until(&server);
                until.unwrap_or(now.plus(FIRST_DELAY))
            }
            Ending::Refused => now.plus(self.federation.delay(self.turn.refusals)),
            _ => now.plus(LOST),
        };
        inner.schedule.ended(server, self.ending, until);
    }
}

impl Federation {
    /// Gives couriers their turns, until the server stops.
    pub(super) async fn dispatch(self, stop: Stop) {
        let mut returned = self.peers().returned();
        let schedule = &self.inner.schedule;
        while !stop.is_stopping() {
            let turns = schedule.turns(
                self.inner.parts.clock.now(),
                |server| self.peers().left_alone_until(server),
                |server| self.peers().standing(server),
            );
            for turn in turns {
                let running = Running {
                    federation: self.clone(),
                    turn,
                    ending: Ending::Lost,
                };
                let federation = self.clone();
                let tasks = &self.inner.parts.tasks;
                tasks.spawn("federation-courier", |stop| async move {
                    federation.take_turn(running, stop).await;
                });
            }
            tokio::select! {
                () = stop.stopped() => {}
                () = schedule.news.notified() => {}
                () = tokio::time::sleep(schedule.pause()) => {}
                server = returned.recv() => match server {
                    Ok(server) => schedule.returned(&server),
                    Err(RecvError::Lagged(_)) => schedule.all_returned(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Twice as long after each refusal, and somewhat different each time.
    fn delay(&self, refusals: u32) -> Duration {
        let longest = Duration::from_secs(self.inner.options.retry_delay_max.max(1));
        let delay = FIRST_DELAY
            .saturating_mul(1 << refusals.min(20))
            .min(longest);
        let part = u32::try_from(self.inner.parts.random.number() % 100).unwrap_or(0);
        delay - delay * part / 400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn name(text: &str) -> OwnedServerName {
        OwnedServerName::try_from(text).unwrap()
    }

    fn schedule() -> Schedule {
        Schedule::new(&Metrics::new())
    }

    /// The servers that get a turn, where nobody is left alone and nobody suspected.
    fn turns(schedule: &Schedule, now: Timestamp) -> Vec<Turn> {
        schedule.turns(now, |_| None, |_| Standing::Answers)
    }

    fn servers(turns: &[Turn]) -> Vec<&str> {
        turns.iter().map(|turn| turn.server.as_str()).collect()
    }

    #[test]
    fn a_ring_during_a_turn_gives_another() {
        let schedule = schedule();
        let (a, b) = (name("a.test"), name("b.test"));
        schedule.ring(a.clone());
        schedule.ring(b.clone());
        schedule.ring(a.clone());
        assert_eq!(servers(&turns(&schedule, NOW)), ["a.test", "b.test"]);
        assert_eq!(turns(&schedule, NOW), []);
        schedule.ring(a.clone());
        schedule.ring(b.clone());
        // What b's courier looks at now has it all.
        schedule.begin(&b);
        schedule.ended(a.clone(), Ending::Idle, NOW);
        schedule.ended(b.clone(), Ending::Idle, NOW);
        assert_eq!(servers(&turns(&schedule, NOW)), ["a.test"]);
        schedule.ended(a.clone(), Ending::More { is_behind: true }, NOW);
        let again = turns(&schedule, NOW);
        assert!(again[0].is_behind);
        schedule.ended(a, Ending::Idle, NOW);
        assert!(schedule.state.lock().servers.is_empty());
    }

    #[test]
    fn who_does_not_answer_rests_until_its_time_or_its_return() {
        let schedule = schedule();
        let a = name("a.test");
        let later = NOW.plus(Duration::from_secs(9));
        schedule.ring(a.clone());
        turns(&schedule, NOW);
        schedule.ended(a.clone(), Ending::Unreachable, later);
        schedule.ring(a.clone());
        assert_eq!(turns(&schedule, NOW), []);
        assert_eq!(schedule.pause(), LOOK);
        let turn = &turns(&schedule, later)[0];
        assert!(turn.is_behind);
        schedule.ended(a.clone(), Ending::Refused, later.plus(LOOK));
        schedule.returned(&name("b.test"));
        assert_eq!(turns(&schedule, NOW), []);
        schedule.returned(&a);
        assert_eq!(turns(&schedule, NOW)[0].refusals, 0);
        schedule.ended(a.clone(), Ending::Refused, later);
        assert_eq!(turns(&schedule, later)[0].refusals, 1);
        schedule.ended(a.clone(), Ending::Lost, Timestamp(u64::MAX - 1));
        schedule.all_returned();
        // Still left alone, as others say.
        let rests = schedule.turns(NOW, |_| Some(later), |_| Standing::Fails);
        assert_eq!(rests, []);
        assert_eq!(schedule.state.lock().resting.len(), 1);
    }

    /// What those have seen who know by its name what a server is.
    fn by_name(server: &ServerName) -> Standing {
        match server.as_str() {
            name if name.starts_with("dead") => Standing::Fails,
            name if name.starts_with("new") => Standing::Unknown,
            _ => Standing::Answers,
        }
    }

    #[test]
    fn those_who_did_not_answer_leave_room_for_others() {
        let schedule = schedule();
        let dead = |number: usize| name(&format!("dead{number}.test"));
        for number in 0..1_000 {
            schedule.ring(dead(number));
        }
        let first = schedule.turns(NOW, |_| None, by_name);
        assert_eq!(first.len(), SUSPECTS);
        assert!(first.iter().all(|turn| turn.is_behind));
        for number in 0..WIDTH {
            schedule.ring(name(&format!("live{number}.test")));
        }
        let second = schedule.turns(NOW, |_| None, by_name);
        assert_eq!(second.len(), WIDTH - SUSPECTS);
        assert!(second.iter().all(|turn| !turn.is_behind));
        // They come in their order.
        schedule.ended(dead(0), Ending::Unreachable, NOW.plus(LOST));
        let third = schedule.turns(NOW, |_| None, by_name);
        assert_eq!(servers(&third), ["dead32.test"]);
        let state = schedule.state.lock();
        assert_eq!((state.beginning.len(), state.suspects), (WIDTH, SUSPECTS));
    }

    #[test]
    fn nobody_waits_for_the_silent_and_they_are_not_too_many() {
        let schedule = schedule();
        let new = |number: usize| name(&format!("new{number}.test"));
        for number in 0..1_000 {
            schedule.ring(new(number));
        }
        let mut now = NOW;
        let mut begun = 0;
        // Nothing is known of them, and none of them says anything.
        for _ in 0..20 {
            let turns = schedule.turns(now, |_| None, by_name);
            assert!(turns.len() <= SUSPECTS);
            begun += turns.len();
            now = now.plus(SLOW_AFTER);
        }
        assert_eq!(begun, SLOW_SUSPECTS);
        schedule.ring(name("live.test"));
        let live = schedule.turns(now, |_| None, by_name);
        assert_eq!(servers(&live), ["live.test"]);
        schedule.ended(name("live.test"), Ending::Idle, now);
        // Who gives up makes room for the next.
        schedule.ended(new(0), Ending::Unreachable, now.plus(LOST));
        let next = schedule.turns(now, |_| None, by_name);
        assert_eq!(servers(&next), ["new256.test"]);
        for number in 1..=256 {
            schedule.ended(new(number), Ending::Idle, now);
        }
        let state = schedule.state.lock();
        let left = (state.slow, state.suspects, state.beginning.len());
        assert_eq!(left, (0, 0, 0));
    }
}
