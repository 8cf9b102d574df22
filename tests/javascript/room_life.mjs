// What people do in an encrypted room besides talking.

import assert from "node:assert/strict";
import { createHash, randomBytes, webcrypto } from "node:crypto";
import { before, test } from "node:test";

import { EventType, MsgType, ReceiptType, RelationType } from "matrix-js-sdk";

import { Device, SECRET } from "./device.mjs";
import { eventually } from "./waiting.mjs";

let alice, bob, room;

before(async () => {
    alice = await Device.register("alice");
    bob = await Device.register("bob");
    room = await alice.directRoom(bob);
    await bob.accept(room);
    await alice.sees(room, [alice, bob]);
    await bob.sees(room, [alice, bob]);
});

const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replaceAll("=", "");
const sha256 = (bytes) => unpadded(createHash("sha256").update(bytes).digest());

/** Encrypts a file as "Sending encrypted attachments" says; gives bytes and `EncryptedFile`. */
async function encrypted(bytes) {
    const algorithm = { name: "AES-CTR", length: 256 };
    const key = await webcrypto.subtle.generateKey(algorithm, true, ["encrypt", "decrypt"]);
    const counter = Buffer.concat([randomBytes(8), Buffer.alloc(8)]);
    const coding = { name: "AES-CTR", counter, length: 64 };
    const hidden = Buffer.from(await webcrypto.subtle.encrypt(coding, key, bytes));
    const file = {
        v: "v2",
        key: await webcrypto.subtle.exportKey("jwk", key),
        iv: unpadded(counter),
        hashes: { sha256: sha256(hidden) },
    };
    return { hidden, file };
}

async function decrypted(hidden, file) {
    assert.equal(sha256(hidden), file.hashes.sha256);
    const key = await webcrypto.subtle.importKey("jwk", file.key, "AES-CTR", false, ["decrypt"]);
    const coding = { name: "AES-CTR", counter: Buffer.from(file.iv, "base64"), length: 64 };
    return Buffer.from(await webcrypto.subtle.decrypt(coding, key, hidden));
}

test("a picture is sent and seen", async () => {
    const picture = Buffer.concat([Buffer.from(SECRET), randomBytes(200_000)]);
    const { hidden, file } = await encrypted(picture);
    const upload = await alice.client.uploadContent(hidden, {
        type: "application/octet-stream",
        includeFilename: false,
    });
    const sent = await alice.send(room, EventType.RoomMessage, {
        msgtype: MsgType.Image,
        body: `${SECRET}holiday.jpeg`,
        info: { mimetype: "image/jpeg", size: picture.length },
        file: { ...file, url: upload.content_uri },
    });

    const message = await bob.reads(room, sent, "holiday.jpeg");
    const received = message.getContent().file;
    const authenticated = [undefined, undefined, undefined, false, true, true];
    const address = bob.client.mxcUrlToHttp(received.url, ...authenticated);
    const refused = await fetch(address);
    assert.equal(refused.status, 401);
    const authorization = `Bearer ${bob.client.getAccessToken()}`;
    const answer = await fetch(address, { headers: { authorization } });
    assert.equal(answer.status, 200);
    const seen = await decrypted(Buffer.from(await answer.arrayBuffer()), received);
    assert.ok(seen.equals(picture));
});

test("a reaction is counted and taken back", async () => {
    const said = await alice.say(room, "cake at four?");
    await bob.reads(room, said, "cake at four?");
    const reactions = (device) => {
        const relations = device.room(room).relations;
        const found = relations.getChildEventsForEvent(said, RelationType.Annotation, EventType.Reaction);
        return (found?.getRelations() ?? []).map((event) => [
            event.getSender(),
            event.getContent()["m.relates_to"].key,
        ]);
    };
    const reaction = await bob.send(room, EventType.Reaction, {
        "m.relates_to": { rel_type: RelationType.Annotation, event_id: said, key: "🍰" },
    });
    for (const device of [alice, bob]) {
        await eventually(`${device.name} sees the reaction`, () => reactions(device).length === 1);
        assert.deepEqual(reactions(device), [[bob.userId, "🍰"]]);
    }
    await bob.client.redactEvent(room, reaction);
    await eventually("the reaction is gone", () => reactions(alice).length === 0);
});

test("a message is corrected", async () => {
    const said = await alice.say(room, "see you on Tueday");
    await bob.reads(room, said, "see you on Tueday");
    const corrected = { msgtype: MsgType.Text, body: `${SECRET}see you on Tuesday` };
    await alice.send(room, EventType.RoomMessage, {
        ...corrected,
        body: `${SECRET}* see you on Tuesday`,
        "m.new_content": corrected,
        "m.relates_to": { rel_type: RelationType.Replace, event_id: said },
    });
    for (const device of [alice, bob]) {
        const message = device.room(room).findEventById(said);
        await eventually(
            `${device.name} sees the correction`,
            () => message.getContent().body === corrected.body,
        );
    }

    // A device that comes later gets the correction too, though it cannot read it.
    const phone = await bob.signInAgain();
    const replacement = await eventually("the correction", () =>
        phone.room(room)?.findEventById(said)?.replacingEvent(),
    );
    assert.equal(replacement.getSender(), alice.userId);
});

test("a thread stands beside the room", async () => {
    const root = await alice.say(room, "where shall we go?");
    await bob.reads(room, root, "where shall we go?");
    const replies = [];
    for (const [speaker, text] of [[bob, "to the lake"], [alice, "or the hills"]]) {
        const content = {
            msgtype: MsgType.Text,
            body: SECRET + text,
            "m.relates_to": { rel_type: RelationType.Thread, event_id: root },
        };
        const reply = await speaker.send(room, EventType.RoomMessage, content, root);
        replies.push([reply, text]);
    }
    const [last] = replies[1];
    for (const device of [alice, bob]) {
        for (const [reply, text] of replies) {
            await device.reads(room, reply, text);
        }
        const thread = await eventually(`${device.name} has the thread`, () => {
            const found = device.room(room).getThread(root);
            return found?.length === 2 && found;
        });
        await eventually("its last reply", () => thread.replyToEvent?.getId() === last);
        const main = device.room(room).getLiveTimeline().getEvents();
        assert.ok(!main.some((event) => event.getId() === last), "not in the room's own timeline");
    }

    // Bob looks into the thread: his receipt stands there, and alice sees it.
    await bob.client.sendReadReceipt(bob.readable(room, last));
    await eventually(
        "alice sees the receipt in the thread",
        () => alice.room(room).getThread(root).getEventReadUpTo(bob.userId, true) === last,
    );
    assert.notEqual(alice.room(room).getEventReadUpTo(bob.userId, true), last);

    // A device that comes later finds the thread in the room's list of threads.
    const phone = await bob.signInAgain();
    await phone.sees(room, [alice, bob]);
    const known = phone.room(room);
    await known.createThreadsTimelineSets();
    await known.fetchRoomThreads();
    const found = await eventually("the thread in the list", () => known.getThread(root));
    assert.equal(found.length, 2);
});

test("everybody sees what has been read", async () => {
    const said = await alice.say(room, "have you seen this?");
    const message = await bob.reads(room, said, "have you seen this?");
    const phone = await bob.signInAgain();
    await phone.sees(room, [alice, bob]);
    const unread = () => phone.room(room).getRoomUnreadNotificationCount();
    await eventually("it is unread on the phone", () => unread() > 0);

    await bob.client.sendReadReceipt(message);
    for (const device of [alice, phone]) {
        await eventually(
            `${device.name} sees the receipt`,
            () => device.room(room).getEventReadUpTo(bob.userId) === said,
        );
    }
    await eventually("nothing is unread on the phone", () => unread() === 0);

    const again = await alice.say(room, "and this, secretly?");
    const second = await bob.reads(room, again, "and this, secretly?");
    await bob.client.sendReadReceipt(second, ReceiptType.ReadPrivate);
    await eventually(
        "the own phone sees the private receipt",
        () => phone.room(room).getEventReadUpTo(bob.userId) === again,
    );
    assert.equal(alice.room(room).getEventReadUpTo(bob.userId), said);
});

test("somebody is seen typing", async () => {
    await bob.client.sendTyping(room, true, 10_000);
    const typing = () => alice.room(room).getMember(bob.userId).typing;
    await eventually("alice sees bob typing", typing);
    await bob.client.sendTyping(room, false, 0);
    await eventually("alice sees bob pause", () => !typing());
});
