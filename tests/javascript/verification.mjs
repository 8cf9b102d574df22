// People and devices verify each other by comparing emoji.

import assert from "node:assert/strict";
import { test } from "node:test";

import { VerificationPhase } from "matrix-js-sdk/lib/crypto-api/index.js";

import { Device } from "./device.mjs";
import { eventually } from "./waiting.mjs";

/** What a verifier shows; it must have been told to begin. */
function shown(verifier) {
    return eventually("the emoji", () => verifier.getShowSasCallbacks());
}

/** Both sides look at seven emoji, find them equal and say so. */
async function compareEmoji(ours, theirs) {
    await theirs.accept();
    await eventually("the request is ready", () => ours.phase === VerificationPhase.Ready);
    const ourVerifier = await ours.startVerification("m.sas.v1");
    const theirVerifier = await eventually("the start", () => theirs.verifier);
    const done = Promise.all([ourVerifier.verify(), theirVerifier.verify()]);
    // A failure shows itself where it is waited for, below.
    done.catch(() => {});
    const [ourSas, theirSas] = [await shown(ourVerifier), await shown(theirVerifier)];
    assert.equal(ourSas.sas.emoji.length, 7);
    assert.deepEqual(ourSas.sas.emoji, theirSas.sas.emoji);
    await Promise.all([ourSas.confirm(), theirSas.confirm()]);
    await done;
    for (const request of [ours, theirs]) {
        await eventually("it is done", () => request.phase === VerificationPhase.Done);
    }
}

test("two people verify each other", async () => {
    const alice = await Device.register("alice");
    const bob = await Device.register("bob");
    await alice.setUpCrossSigning();
    await bob.setUpCrossSigning();
    const room = await alice.directRoom(bob);
    await bob.accept(room);
    await alice.sees(room, [alice, bob]);
    await bob.sees(room, [alice, bob]);

    const trusts = async (viewer, other) =>
        (await viewer.crypto.getUserVerificationStatus(other.userId)).isVerified();
    for (const [viewer, other] of [[alice, bob], [bob, alice]]) {
        await eventually(`${viewer.name} has the keys of ${other.name}`, () =>
            viewer.crypto.userHasCrossSigningKeys(other.userId, true),
        );
        assert.equal(await trusts(viewer, other), false);
    }
    const ours = await alice.crypto.requestVerificationDM(bob.userId, room);
    await compareEmoji(ours, await bob.verificationRequest(alice));

    for (const [viewer, other] of [[alice, bob], [bob, alice]]) {
        await eventually(`${viewer.name} trusts ${other.name}`, () => trusts(viewer, other));
    }
    const said = await alice.say(room, "now I know it is you");
    await bob.reads(room, said, "now I know it is you");
});

test("a person verifies a new device, which then gets the secrets", async () => {
    const laptop = await Device.register("alice");
    await laptop.setUpCrossSigning();
    const bob = await Device.register("bob");
    const room = await laptop.directRoom(bob);
    await bob.accept(room);
    const phone = await laptop.signInAgain();
    await bob.sees(room, [laptop, bob]);

    const signed = async (viewer) => {
        const status = await viewer.crypto.getDeviceVerificationStatus(phone.userId, phone.deviceId);
        return status?.signedByOwner;
    };
    await laptop.knows(phone);
    assert.equal(await signed(laptop), false);
    const ours = await laptop.crypto.requestDeviceVerification(phone.userId, phone.deviceId);
    await compareEmoji(ours, await phone.verificationRequest(laptop));

    await bob.knows(phone);
    for (const viewer of [laptop, phone, bob]) {
        await eventually(`${viewer.name} sees the phone signed by its owner`, () => signed(viewer));
    }
    await eventually("the phone has the cross-signing keys", async () => {
        const status = await phone.crypto.getCrossSigningStatus();
        return Object.values(status.privateKeysCachedLocally).every(Boolean);
    });
});
