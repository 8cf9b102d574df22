// People who slide along their rooms talk with people who sync everything.

import { test } from "node:test";

import { EventType, RelationType } from "matrix-js-sdk";

import { Device, sliding, whole } from "./device.mjs";
import { eventually } from "./waiting.mjs";

test("those who slide and those who sync read each other", async () => {
    const alice = await Device.register("alice", sliding);
    const bob = await Device.register("bob", whole);
    const phone = await bob.signInAgain("phone", sliding);
    const all = [alice, bob, phone];

    const room = await alice.directRoom(bob);
    await phone.accept(room);
    for (const device of all) {
        await device.sees(room, [alice, bob]);
    }
    for (const round of [0, 1]) {
        for (const speaker of all) {
            const text = `round ${round} from ${speaker.name}`;
            const said = await speaker.say(room, text);
            for (const listener of all) {
                await listener.reads(room, said, text);
            }
        }
    }
});

test("what else happens in a room reaches those who slide", async () => {
    const alice = await Device.register("alice", sliding);
    const bob = await Device.register("bob", whole);
    const room = await alice.directRoom(bob);
    await bob.accept(room);
    await alice.sees(room, [alice, bob]);
    const said = await alice.say(room, "are you there?");
    const message = await bob.reads(room, said, "are you there?");

    await bob.client.sendReadReceipt(message);
    await eventually(
        "alice sees the receipt",
        () => alice.room(room).getEventReadUpTo(bob.userId) === said,
    );
    await bob.client.sendTyping(room, true, 10_000);
    await eventually("alice sees bob typing", () => alice.room(room).getMember(bob.userId).typing);
    await bob.send(room, EventType.Reaction, {
        "m.relates_to": { rel_type: RelationType.Annotation, event_id: said, key: "👋" },
    });
    await eventually("alice sees the reaction", () => {
        const relations = alice.room(room).relations;
        const types = [RelationType.Annotation, EventType.Reaction];
        return relations.getChildEventsForEvent(said, ...types)?.getRelations().length === 1;
    });
    await bob.client.setRoomName(room, "The two of us");
    await eventually("alice sees the name", () => alice.room(room).name === "The two of us");
    await alice.client.setRoomTag(room, "m.favourite", { order: 0.5 });
    await eventually("alice sees the mark", () => alice.room(room).tags["m.favourite"]);
    await bob.client.leave(room);
    await eventually(
        "alice sees bob leave",
        () => alice.room(room).getMember(bob.userId).membership === "leave",
    );
});
