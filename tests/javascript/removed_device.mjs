// A device that was removed gets no new keys.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Device } from "./device.mjs";
import { eventually } from "./waiting.mjs";

test("a deleted device gets no new keys", async () => {
    const alice = await Device.register("alice");
    const bob = await Device.register("bob");
    const phone = await bob.signInAgain();
    const room = await alice.directRoom(bob);
    await bob.accept(room);
    for (const device of [alice, bob, phone]) {
        await device.sees(room, [alice, bob]);
    }
    await alice.knows(phone);
    const early = await alice.say(room, "for all three");
    await bob.reads(room, early, "for all three");
    await phone.reads(room, early, "for all three");

    await bob.withPassword((auth) => bob.client.deleteDevice(phone.deviceId, auth ?? undefined));
    await eventually("the phone learns that it is signed out", () => phone.isSignedOut);
    await alice.forgets(phone);

    const late = await alice.say(room, "not for the phone");
    await bob.reads(room, late, "not for the phone");
    const session = async (event) => (await bob.asStored(room, event)).content.session_id;
    assert.notEqual(await session(early), await session(late), "the session was not changed");
});
