//! What state resolution does not do: go on with what is missing or wrong, look at more than it may, believe rejected events.

use std::sync::Arc;

use graph::{Conflict, Event, Link, ResolutionError, Resolved, RoomGraph, Version, resolve};
use ruma_common::{EventId, OwnedEventId, RoomId};

use crate::{
    forks::{self, ENOUGH, Room, State, View},
    stories::STORIES,
};

/// A room in which something is wrong.
struct Odd<'a> {
    view: View<'a>,
    missing: Option<OwnedEventId>,
    rejected: Option<OwnedEventId>,
    equal_generations: bool,
    broken: bool,
}

impl RoomGraph for Odd<'_> {
    type Error = &'static str;

    fn event(&self, event_id: &EventId) -> Result<Option<Arc<Event>>, Self::Error> {
        if self.broken {
            return Err("the disk is on fire");
        }
        if self.missing.as_deref() == Some(event_id) {
            return Ok(None);
        }
        let Ok(event) = self.view.event(event_id);
        if self.rejected.as_deref() != Some(event_id) {
            return Ok(event);
        }
        let event = event.unwrap();
        let rejected = Event::from_stored(
            event.json().into(),
            event_id.to_owned(),
            event.version(),
            event.room_id().to_owned(),
            true,
        );
        Ok(Some(Arc::new(rejected.unwrap())))
    }

    fn link(&self, event_id: &EventId) -> Result<Option<Link>, Self::Error> {
        let Ok(link) = self.view.link(event_id);
        Ok(link.map(|link| Link {
            generation: if self.equal_generations {
                1
            } else {
                link.generation
            },
            ..link
        }))
    }

    fn unconflicted(
        &self,
        event_type: &str,
        key: &str,
    ) -> Result<Option<OwnedEventId>, Self::Error> {
        let Ok(event_id) = self.view.unconflicted(event_type, key);
        Ok(event_id)
    }

    fn each_unconflicted(
        &self,
        visit: &mut dyn FnMut(&EventId) -> bool,
    ) -> Result<(), Self::Error> {
        let Ok(()) = self.view.each_unconflicted(visit);
        Ok(())
    }
}

/// A room whose forks meet: Alice bans Bob while he sets his name and the topic.
fn room(version: Version) -> Room {
    Room::of_story(version, STORIES[0].forks)
}

fn outcome(
    room: &Room,
    spoil: impl FnOnce(&mut Odd<'_>, &mut Vec<Conflict>),
    limit: usize,
) -> Result<Resolved, ResolutionError<&'static str>> {
    let (mut conflicts, unconflicted) = forks::differences(&room.meetings[0].forks);
    let mut odd = Odd {
        view: View { room, unconflicted },
        missing: None,
        rejected: None,
        equal_generations: false,
        broken: false,
    };
    spoil(&mut odd, &mut conflicts);
    resolve(room.version, &room.id, &conflicts, &odd, limit)
}

fn id_of(room: &Room, state: &State, event_type: &str, key: &str) -> OwnedEventId {
    let id = &state[&(event_type.to_owned(), key.to_owned())];
    room.event(id).event_id().to_owned()
}

#[test]
fn a_missing_event_is_named() {
    for version in Version::KNOWN {
        let room = room(version);
        let [banned, active] = &room.meetings[0].forks[..] else {
            panic!("two forks")
        };
        for (state, event_type, key) in [
            (banned, "m.room.member", "@bob:a.example"),
            (active, "m.room.topic", ""),
            (active, "m.room.power_levels", ""),
        ] {
            let missing = id_of(&room, state, event_type, key);
            let refused = outcome(&room, |odd, _| odd.missing = Some(missing.clone()), ENOUGH);
            assert_eq!(refused, Err(ResolutionError::Missing(missing)), "{version}");
        }
        let broken = outcome(&room, |odd, _| odd.broken = true, ENOUGH);
        assert_eq!(broken, Err(ResolutionError::Graph("the disk is on fire")));
    }
}

#[test]
fn no_more_is_looked_at_than_allowed() {
    for version in Version::KNOWN {
        let room = room(version);
        let whole = outcome(&room, |_, _| {}, ENOUGH).unwrap();
        let enough = (1..)
            .find(|limit| outcome(&room, |_, _| {}, *limit).is_ok())
            .unwrap();
        // The room has thirteen events and as many links; not all of them matter.
        assert!((5..26).contains(&enough), "{version}: {enough}");
        for limit in 0..enough {
            let refused = outcome(&room, |_, _| {}, limit);
            assert_eq!(refused, Err(ResolutionError::TooManyEvents { limit }));
        }
        assert_eq!(outcome(&room, |_, _| {}, enough), Ok(whole));
    }
}

#[test]
fn a_crowd_costs_nothing() {
    for version in Version::KNOWN {
        let room = Room::of_crowded_story(version, 100, STORIES[0].forks);
        // Each of the hundred has an event and a link.
        assert!(outcome(&room, |_, _| {}, 30).is_ok(), "{version}");
    }
}

#[test]
fn forks_must_be_told_apart() {
    let room = room(Version::V10);
    for by_fork in [0, 1, 65] {
        let refused = outcome(
            &room,
            |_, conflicts| {
                for conflict in conflicts {
                    conflict.by_fork.resize(by_fork, None);
                }
            },
            ENOUGH,
        );
        assert_eq!(refused, Err(ResolutionError::Forks));
    }
    let refused = outcome(
        &room,
        |_, conflicts| conflicts[0].by_fork.push(None),
        ENOUGH,
    );
    assert_eq!(refused, Err(ResolutionError::Forks));
    let nothing = outcome(&room, |_, conflicts| conflicts.clear(), ENOUGH);
    assert_eq!(nothing, Ok(Resolved::new()));
}

#[test]
fn events_must_be_what_and_where_they_are_said_to_be() {
    let room = room(Version::V10);
    let refused = outcome(
        &room,
        |_, conflicts| "other".clone_into(&mut conflicts[0].state_key),
        ENOUGH,
    );
    assert!(matches!(refused, Err(ResolutionError::NotThatState(_))));
    let refused = outcome(&room, |odd, _| odd.equal_generations = true, ENOUGH);
    assert!(matches!(refused, Err(ResolutionError::Generation(_))));
    let (conflicts, unconflicted) = forks::differences(&room.meetings[0].forks);
    let view = View {
        room: &room,
        unconflicted,
    };
    let elsewhere = RoomId::parse("!elsewhere:a.example").unwrap();
    let refused = resolve(Version::V10, &elsewhere, &conflicts, &view, ENOUGH);
    assert!(matches!(refused, Err(ResolutionError::OtherRoom(_))));
}

#[test]
fn a_rejected_event_allows_nothing() {
    for version in Version::KNOWN
        .into_iter()
        .filter(|version| *version > Version::V1)
    {
        // Only a topic is in conflict, and what allows its sender is rejected.
        let room = Room::of_story(
            version,
            &[
                &[(
                    1,
                    "@bob:a.example",
                    "m.room.topic",
                    "",
                    r#"{"topic":"one"}"#,
                )],
                &[(
                    2,
                    "@bob:a.example",
                    "m.room.topic",
                    "",
                    r#"{"topic":"two"}"#,
                )],
            ],
        );
        let key = ("m.room.topic".to_owned(), String::new());
        let resolved = outcome(&room, |_, _| {}, ENOUGH).unwrap();
        assert_eq!(
            room.event(&resolved[&key]).content().get(),
            r#"{"topic":"two"}"#
        );
        let bob = id_of(
            &room,
            &room.meetings[0].resolved,
            "m.room.member",
            "@bob:a.example",
        );
        let resolved = outcome(&room, |odd, _| odd.rejected = Some(bob), ENOUGH).unwrap();
        assert!(!resolved.contains_key(&key), "{version}");
        // A topic that is rejected itself is judged anew: it is the state that decides.
        let two = room.meetings[0].forks[1][&key].clone();
        let resolved = outcome(&room, |odd, _| odd.rejected = Some(two.clone()), ENOUGH).unwrap();
        assert_eq!(resolved[&key], two);
    }
}
