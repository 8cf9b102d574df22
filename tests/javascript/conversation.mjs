// Two people with two devices each, and three in a group, talk encrypted.

import { test } from "node:test";

import { Device } from "./device.mjs";

test("two people with two devices each talk in private", async () => {
    const alice = await Device.register("alice");
    const bob = await Device.register("bob");
    const all = [alice, await alice.signInAgain(), bob, await bob.signInAgain()];

    const room = await alice.directRoom(bob);
    await bob.accept(room);
    for (const device of all) {
        await device.sees(room, [alice, bob]);
    }
    for (const [number, speaker] of all.entries()) {
        const text = `message ${number} from ${speaker.name}`;
        const said = await speaker.say(room, text);
        for (const listener of all) {
            await listener.reads(room, said, text);
        }
    }
});

test("three people talk in a group", async () => {
    const alice = await Device.register("alice");
    const bob = await Device.register("bob");
    const carol = await Device.register("carol");
    const all = [alice, bob, carol];

    const room = await alice.encryptedRoom([bob, carol]);
    await bob.accept(room);
    await carol.accept(room);
    for (const device of all) {
        await device.sees(room, all);
    }
    for (const round of [0, 1, 2]) {
        for (const speaker of all) {
            const text = `round ${round} from ${speaker.name}`;
            const said = await speaker.say(room, text);
            for (const listener of all) {
                await listener.reads(room, said, text);
            }
        }
    }
});

test("a device that signs in later reads on from there", async () => {
    const alice = await Device.register("alice");
    const bob = await Device.register("bob");
    const room = await alice.directRoom(bob);
    await bob.accept(room);
    await alice.sees(room, [alice, bob]);
    const before = await alice.say(room, "before the phone");
    await bob.reads(room, before, "before the phone");

    const phone = await bob.signInAgain();
    await phone.sees(room, [alice, bob]);
    await alice.knows(phone);
    const later = await alice.say(room, "after the phone");
    await bob.reads(room, later, "after the phone");
    await phone.reads(room, later, "after the phone");
    await phone.cannotRead(room, before);
});
