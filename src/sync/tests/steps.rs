//! What happens in random histories.

use proptest::{prelude::*, sample::select};

use super::histories::{PEOPLE, ROOMS};

/// What happens. People and rooms are meant by their numbers; what the rules forbid does
/// not happen.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create {
        who: usize,
        named: bool,
    },
    Say {
        who: usize,
        room: usize,
        mention: bool,
    },
    Name {
        who: usize,
        room: usize,
        name: Option<u8>,
    },
    Topic {
        who: usize,
        room: usize,
        topic: u8,
    },
    Profile {
        who: usize,
        name: u8,
    },
    Join {
        who: usize,
        room: usize,
    },
    Leave {
        who: usize,
        room: usize,
    },
    Invite {
        who: usize,
        room: usize,
        whom: usize,
    },
    Kick {
        who: usize,
        room: usize,
        whom: usize,
    },
    Ban {
        who: usize,
        room: usize,
        whom: usize,
    },
    Unban {
        who: usize,
        room: usize,
        whom: usize,
    },
    Forget {
        room: usize,
    },
    Redact {
        who: usize,
        event: usize,
    },
    Read {
        who: usize,
        event: usize,
        private: bool,
    },
    Type {
        who: usize,
        room: usize,
        types: bool,
    },
    Data {
        room: Option<usize>,
        kind: u8,
        value: u8,
    },
    Direct {
        rooms: Vec<usize>,
    },
    /// The machine's clock is set.
    Clock {
        time: u64,
    },
    Sync,
    Slide(Slide),
}

/// What a machine's clock may show: a battery that is empty, the right time, years ahead.
const TIMES: [u64; 4] = [0, 1_700_000_000_000, 1_700_000_600_000, 4_700_000_000_000];

/// A sliding sync.
#[derive(Clone, Debug)]
pub(super) struct Slide {
    pub(super) last: u64,
    pub(super) limit: u64,
    pub(super) subscribed: Option<usize>,
    pub(super) narrow: bool,
    /// Whether its answer gets lost.
    pub(super) lost: bool,
}

fn slide() -> impl Strategy<Value = Slide> {
    let limit = select(vec![0_u64, 1, 2, 5, 30]);
    let subscribed = proptest::option::weighted(0.3, 0..ROOMS);
    (
        0..5_u64,
        limit,
        subscribed,
        any::<bool>(),
        proptest::bool::weighted(0.3),
    )
        .prop_map(|(last, limit, subscribed, narrow, lost)| Slide {
            last,
            limit,
            subscribed,
            narrow,
            lost,
        })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (who, room) = (0..PEOPLE.len(), 0..ROOMS);
    let both = || (0..PEOPLE.len(), 0..ROOMS);
    let three = || (0..PEOPLE.len(), 0..ROOMS, 0..PEOPLE.len());
    prop_oneof![
        3 => (who.clone(), any::<bool>()).prop_map(|(who, named)| Step::Create { who, named }),
        12 => (both(), any::<bool>())
            .prop_map(|((who, room), mention)| Step::Say { who, room, mention }),
        2 => (both(), proptest::option::of(0..3_u8))
            .prop_map(|((who, room), name)| Step::Name { who, room, name }),
        2 => (both(), 0..3_u8).prop_map(|((who, room), topic)| Step::Topic { who, room, topic }),
        1 => (who.clone(), 0..3_u8).prop_map(|(who, name)| Step::Profile { who, name }),
        6 => both().prop_map(|(who, room)| Step::Join { who, room }),
        4 => both().prop_map(|(who, room)| Step::Leave { who, room }),
        3 => three().prop_map(|(who, room, whom)| Step::Invite { who, room, whom }),
        2 => three().prop_map(|(who, room, whom)| Step::Kick { who, room, whom }),
        1 => three().prop_map(|(who, room, whom)| Step::Ban { who, room, whom }),
        1 => three().prop_map(|(who, room, whom)| Step::Unban { who, room, whom }),
        1 => room.prop_map(|room| Step::Forget { room }),
        2 => (who.clone(), any::<usize>()).prop_map(|(who, event)| Step::Redact { who, event }),
        4 => (who, any::<usize>(), any::<bool>())
            .prop_map(|(who, event, private)| Step::Read { who, event, private }),
        2 => (both(), any::<bool>()).prop_map(|((who, room), types)| Step::Type { who, room, types }),
        2 => (proptest::option::of(0..ROOMS), 0..2_u8, 0..3_u8)
            .prop_map(|(room, kind, value)| Step::Data { room, kind, value }),
        1 => proptest::collection::vec(0..ROOMS, 0..3).prop_map(|rooms| Step::Direct { rooms }),
        1 => select(TIMES.to_vec()).prop_map(|time| Step::Clock { time }),
        6 => Just(Step::Sync),
        10 => slide().prop_map(Step::Slide),
    ]
}
