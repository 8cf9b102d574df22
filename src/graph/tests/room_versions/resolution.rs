//! State resolution: what does not change its result, and that another implementation has the same.

use std::collections::{HashMap, HashSet};

use graph::{StateResolution, Version};
use proptest::prelude::*;
use ruma_common::{EventId, OwnedEventId};
use ruma_events::StateEventType;

use crate::{
    forks::{Chance, Meeting, Room, State},
    stories::STORIES,
};

fn any_version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::KNOWN.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neither_the_order_nor_the_number_of_equal_forks_matters(version in any_version(), seed: u64) {
        let mut chance = Chance::new(seed);
        let room = Room::by_chance(version, &mut chance);
        for Meeting { forks, resolved } in &room.meetings {
            let mut more = forks.clone();
            more.push(chance.pick(&forks.iter().collect::<Vec<_>>()).clone());
            for index in (1..more.len()).rev() {
                more.swap(index, chance.below(index + 1));
            }
            prop_assert_eq!(&room.resolve(&more).unwrap(), resolved);
            let same = [resolved.clone(), resolved.clone()];
            prop_assert_eq!(&room.resolve(&same).unwrap(), resolved);
        }
    }

    #[test]
    fn another_implementation_resolves_alike(version in any_version(), seed: u64) {
        let room = Room::by_chance(version, &mut Chance::new(seed));
        for Meeting { forks, resolved } in &room.meetings {
            if let Some(expected) = resolved_by_ruma(&room, forks) {
                prop_assert_eq!(resolved, &expected);
            }
        }
    }
}

#[test]
fn who_wins_a_race() {
    for story in STORIES {
        for version in Version::KNOWN {
            if story.only_since_12 && version < Version::V12 {
                continue;
            }
            let room = Room::of_story(version, story.forks);
            let expected = match version {
                Version::V1 => story.expected_in_version_1,
                _ => story.expected,
            };
            for (event_type, key, content) in expected {
                let key = ((*event_type).to_owned(), (*key).to_owned());
                let event = room.meetings[0].resolved.get(&key).map(|id| room.event(id));
                let found = event.map(|event| event.content().get());
                assert_eq!(found, *content, "{}: {version}, {key:?}", story.name);
            }
        }
    }
}

type RumaState = HashMap<(StateEventType, String), OwnedEventId>;

/// The resolution of ruma-state-res, which has none for version 1, over whole auth chains and all paths.
fn resolved_by_ruma(room: &Room, forks: &[State]) -> Option<State> {
    if room.version.state_resolution() == StateResolution::V1 {
        return None;
    }
    let rules = room.version.rules();
    let maps: Vec<RumaState> = forks
        .iter()
        .map(|state| {
            let entries = state.iter();
            entries
                .map(|((event_type, key), id)| {
                    ((event_type.as_str().into(), key.clone()), id.clone())
                })
                .collect()
        })
        .collect();
    let chains = forks
        .iter()
        .map(|state| {
            let resting = state.values().flat_map(|id| resting_on(room, id));
            resting.map(ToOwned::to_owned).collect()
        })
        .collect();
    let resolved = ruma_state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules()?,
        &maps,
        chains,
        |event_id: &EventId| {
            let found = room
                .events
                .iter()
                .find(|event| event.event_id() == event_id);
            found.map(|event| event.as_ref())
        },
        |conflicts| {
            let conflicting: HashSet<&EventId> =
                conflicts.values().flatten().map(|id| &**id).collect();
            let between = room
                .events
                .iter()
                .map(|event| event.event_id())
                .filter(|event_id| {
                    resting_on(room, event_id)
                        .iter()
                        .any(|below| conflicting.contains(below))
                        && conflicting
                            .iter()
                            .any(|above| resting_on(room, above).contains(event_id))
                });
            Some(between.map(ToOwned::to_owned).collect())
        },
    )
    .unwrap();
    let entries = resolved.into_iter();
    Some(
        entries
            .map(|((event_type, key), id)| ((event_type.to_string(), key), id))
            .collect(),
    )
}

/// An event and its auth chain.
fn resting_on<'a>(room: &'a Room, event_id: &'a EventId) -> HashSet<&'a EventId> {
    let mut chain = HashSet::new();
    let mut waiting = vec![event_id];
    while let Some(event_id) = waiting.pop() {
        if chain.insert(event_id) {
            waiting.extend(room.event(event_id).auth_events().iter().map(|id| &**id));
        }
    }
    chain
}
