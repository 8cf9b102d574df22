// A person's device: a client that is signed in and syncs in the background.

import assert from "node:assert/strict";
import { after } from "node:test";

import {
    createClient,
    EventType,
    HttpApiEvent,
    KnownMembership,
    MsgType,
    Preset,
} from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

import { logger } from "./log.mjs";
import { eventually } from "./waiting.mjs";

const PASSWORD = "a password of many words";
/** The server's address, and the words with which all begins that is said in rooms: the
 *  server must never see them. */
export const { HOMESERVER, SECRET } = process.env;
assert.ok(HOMESERVER && SECRET, "run these stories with `cargo test`");

const started = [];
after(() => started.forEach((device) => device.stop()));

let people = 0;

/** Syncs everything (`/sync`). */
export function whole() {
    return { initialSyncLimit: 100 };
}

/** Slides along the list of rooms (MSC4186). */
export function sliding(client) {
    const rooms = {
        ranges: [[0, 19]],
        timeline_limit: 20,
        required_state: [["*", "*"]],
    };
    const lists = new Map([["rooms", rooms]]);
    const { timeline_limit, required_state } = rooms;
    const subscription = { timeline_limit, required_state };
    return { slidingSync: new SlidingSync(HOMESERVER, lists, subscription, client, 10_000) };
}

export class Device {
    /** Registers a person, whose name is made unique, on a first device that syncs in one
     *  way or the other. */
    static async register(name, sync = whole) {
        people += 1;
        const username = `${name}${people}`;
        const anonymous = createClient({ baseUrl: HOMESERVER, logger: logger(username) });
        const auth = { type: "m.login.dummy" };
        const session = await anonymous.registerRequest({ username, password: PASSWORD, auth });
        return Device.#begin(`${username}'s laptop`, session, sync);
    }

    /** Signs the same person in on a further device. */
    async signInAgain(deviceName = "phone", sync = whole) {
        const name = this.userId.slice(1).split(":")[0];
        const anonymous = createClient({ baseUrl: HOMESERVER, logger: logger(name) });
        const session = await anonymous.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: name },
            password: PASSWORD,
            initial_device_display_name: deviceName,
        });
        return Device.#begin(`${name}'s ${deviceName}`, session, sync);
    }

    static async #begin(name, session, sync) {
        const device = new Device();
        device.name = name;
        device.userId = session.user_id;
        device.deviceId = session.device_id;
        device.recoveryKey = undefined;
        device.isSignedOut = false;
        device.verificationRequests = [];
        device.client = createClient({
            baseUrl: HOMESERVER,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            logger: logger(name),
            verificationMethods: ["m.sas.v1"],
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) =>
                    device.recoveryKey && [Object.keys(keys)[0], device.recoveryKey],
            },
        });
        await device.client.initRustCrypto({ useIndexedDB: false });
        device.client.on(CryptoEvent.VerificationRequestReceived, (request) =>
            device.verificationRequests.push(request),
        );
        device.client.on(HttpApiEvent.SessionLoggedOut, () => (device.isSignedOut = true));
        started.push(device);
        await device.client.startClient({ threadSupport: true, ...sync(device.client) });
        await eventually(`${name}: the first sync`, () => device.client.isInitialSyncComplete());
        await eventually(`${name}: the uploaded keys`, async () => {
            const devices = await device.client.downloadKeysForUsers([device.userId]);
            return devices.device_keys[device.userId]?.[device.deviceId];
        });
        return device;
    }

    stop() {
        this.client.stopClient();
    }

    get crypto() {
        return this.client.getCrypto();
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    /** Answers a request for the password, if the server asks for it. */
    withPassword = async (makeRequest) => {
        try {
            return await makeRequest(null);
        } catch (error) {
            assert.equal(error.httpStatus, 401, `${error}`);
            return makeRequest({
                type: "m.login.password",
                identifier: { type: "m.id.user", user: this.userId },
                password: PASSWORD,
                session: error.data.session,
            });
        }
    };

    async setUpCrossSigning() {
        await this.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: this.withPassword });
        assert.ok(await this.crypto.isCrossSigningReady(), `${this.name}: cross-signing`);
    }

    /** Creates an encrypted room with these people invited. */
    async encryptedRoom(others, more = {}) {
        const { room_id } = await this.client.createRoom({
            preset: Preset.PrivateChat,
            invite: others.map((other) => other.userId),
            initial_state: [
                {
                    type: EventType.RoomEncryption,
                    state_key: "",
                    content: { algorithm: "m.megolm.v1.aes-sha2" },
                },
            ],
            ...more,
        });
        return room_id;
    }

    /** Starts an encrypted conversation between two. */
    async directRoom(other) {
        const room = await this.encryptedRoom([other], {
            preset: Preset.TrustedPrivateChat,
            is_direct: true,
        });
        await this.client.setAccountData(EventType.Direct, { [other.userId]: [room] });
        return room;
    }

    /** Waits for an invitation and takes it. */
    async accept(roomId) {
        await eventually(
            `${this.name}: the invitation to ${roomId}`,
            () => this.room(roomId)?.getMyMembership() === KnownMembership.Invite,
        );
        await this.client.joinRoom(roomId);
    }

    /** Waits until this device knows the room as encrypted, with `people` joined in it. */
    async sees(roomId, people) {
        await eventually(`${this.name}: the members of ${roomId}`, async () => {
            const room = this.room(roomId);
            const joined = room?.getJoinedMembers().map((member) => member.userId) ?? [];
            return (
                people.every((person) => joined.includes(person.userId)) &&
                (await this.crypto.isEncryptionEnabledInRoom(roomId))
            );
        });
    }

    /** Waits until this device knows the other. */
    async knows(other) {
        await eventually(`${this.name} knows ${other.name}`, async () => {
            const devices = await this.crypto.getUserDeviceInfo([other.userId]);
            return devices.get(other.userId)?.has(other.deviceId);
        });
    }

    /** Waits until this device knows that the other is gone. */
    async forgets(other) {
        await eventually(`${this.name} forgets ${other.name}`, async () => {
            const devices = await this.crypto.getUserDeviceInfo([other.userId]);
            return !devices.get(other.userId)?.has(other.deviceId);
        });
    }

    /** Says something, and gives the event's id. */
    async say(roomId, text, threadId = null) {
        const content = { msgtype: MsgType.Text, body: SECRET + text };
        return this.send(roomId, EventType.RoomMessage, content, threadId);
    }

    /** Sends an event, and checks that the server holds it encrypted. */
    async send(roomId, type, content, threadId = null) {
        const { event_id } = await this.client.sendEvent(roomId, threadId, type, content);
        const stored = await this.asStored(roomId, event_id);
        // A reaction stays in the clear, so that servers can count it.
        if (type !== EventType.Reaction) {
            assert.equal(stored.type, EventType.RoomMessageEncrypted, `${this.name} sent in the clear`);
        }
        return event_id;
    }

    /** An event as the server holds it. */
    asStored(roomId, eventId) {
        return this.client.fetchRoomEvent(roomId, eventId);
    }

    /** An event of a room's timeline or its threads that came encrypted and could be read. */
    readable(roomId, eventId) {
        const event = this.room(roomId)?.findEventById(eventId);
        const read = event?.isEncrypted() && event.getClearContent() && !event.isDecryptionFailure();
        return read ? event : undefined;
    }

    /** Waits until this device has read what was said. */
    async reads(roomId, eventId, text) {
        const what = `${this.name} reads "${text}"`;
        const event = await eventually(what, () => this.readable(roomId, eventId));
        assert.equal(event.getContent().body, SECRET + text);
        return event;
    }

    /** Waits until an event that came encrypted stands there and cannot be read. */
    async cannotRead(roomId, eventId) {
        await eventually(`${this.name} cannot read ${eventId}`, () =>
            this.room(roomId)?.findEventById(eventId)?.isDecryptionFailure(),
        );
    }

    /** Waits for somebody's wish to verify. */
    async verificationRequest(from) {
        return eventually(`${this.name}: the request to verify`, () =>
            this.verificationRequests.find((request) => request.otherUserId === from.userId),
        );
    }
}
