"""Resolves the forks of rooms with Synapse's own code.

Reads one room a line as JSON: its version, id, events (each after those that it
rests on) and meetings, where each fork is a list of [type, state key, event id].
Answers with one line for each: the ids that the events have for Synapse, and
the state of each meeting.
"""

import json
import logging
import sys

import synapse.event_auth  # noqa: F401  (before synapse.state: they import each other)
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.events import make_event_from_dict
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference

logging.disable(logging.CRITICAL)


class Clock:
    async def sleep(self, _duration):
        pass


class Store:
    """All of a room's events, in memory.

    What Synapse asks of its database is answered as that does: an auth chain has
    the events that it begins with.
    """

    def __init__(self, events):
        self.events = {event.event_id: event for event in events}

    async def get_events(self, event_ids, allow_rejected=False):
        return {
            event_id: self.events[event_id]
            for event_id in event_ids
            if event_id in self.events
        }

    def reach(self, event_ids):
        """The events and all that they rest on."""
        reached, waiting = set(), list(event_ids)
        while waiting:
            event_id = waiting.pop()
            if event_id not in reached:
                reached.add(event_id)
                waiting.extend(self.events[event_id].auth_event_ids())
        return reached

    async def get_auth_chain_difference(
        self, _room_id, state_sets, conflicted_state, _additional
    ):
        chains = [self.reach(state_set) for state_set in state_sets]
        difference = set.union(*chains) - set.intersection(*chains)
        if conflicted_state is None:
            return StateDifference(difference, None)
        between = {
            event_id
            for event_id in self.reach(conflicted_state)
            if conflicted_state & self.reach([event_id])
        }
        return StateDifference(difference, between)


def now(coroutine):
    """Runs what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the resolution waits for something")


def answer(room):
    version = KNOWN_ROOM_VERSIONS[room["version"]]
    events = [make_event_from_dict(event, version) for event in room["events"]]
    store = Store(events)
    states = []
    for forks in room["meetings"]:
        state_sets = [{(kind, key): id for kind, key, id in fork} for fork in forks]
        if version.state_res == StateResolutionVersions.V1:
            state = v1.resolve_events_with_store(
                room["id"], version, state_sets, None, store.get_events
            )
        else:
            state = v2.resolve_events_with_store(
                Clock(), room["id"], version, state_sets, None, store
            )
        states.append([[kind, key, id] for (kind, key), id in now(state).items()])
    return {"event_ids": [event.event_id for event in events], "states": states}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
