// A person who has lost every device gets everything back with the recovery key.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";

import { Device } from "./device.mjs";
import { eventually } from "./waiting.mjs";

test("a new device reads the past with the recovery key", async () => {
    const laptop = await Device.register("alice");
    const bob = await Device.register("bob");
    await laptop.setUpCrossSigning();
    const key = await laptop.crypto.createRecoveryKeyFromPassphrase();
    laptop.recoveryKey = key.privateKey;
    await laptop.crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => key,
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    await eventually("secret storage is ready", () => laptop.crypto.isSecretStorageReady());

    const room = await laptop.directRoom(bob);
    await bob.accept(room);
    await laptop.sees(room, [laptop, bob]);
    await bob.sees(room, [laptop, bob]);
    const told = await laptop.say(room, "what alice said");
    const heard = await bob.say(room, "what bob said");
    await laptop.reads(room, heard, "what bob said");
    const version = await laptop.crypto.getActiveSessionBackupVersion();
    assert.ok(version, "the laptop backs its keys up");
    await eventually("both sessions are backed up", async () => {
        const { backupInfo } = await laptop.crypto.checkKeyBackupAndEnable();
        return backupInfo.count === 2;
    });
    await laptop.client.logout(true);

    const phone = await laptop.signInAgain();
    await phone.cannotRead(room, told);
    await phone.cannotRead(room, heard);
    // As it was written down on paper.
    phone.recoveryKey = decodeRecoveryKey(key.encodedPrivateKey);
    await phone.crypto.bootstrapCrossSigning({});
    await phone.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const check = await phone.crypto.checkKeyBackupAndEnable();
    assert.equal(check.backupInfo.version, version);
    assert.ok(check.trustInfo.trusted, "the backup is signed by the person");
    const restored = await phone.crypto.restoreKeyBackup();
    assert.deepEqual(restored, { total: 2, imported: 2 });
    await phone.reads(room, told, "what alice said");
    await phone.reads(room, heard, "what bob said");

    // It is one of the person's own devices from here on.
    await bob.knows(phone);
    await eventually("bob sees the phone signed by its owner", async () => {
        const status = await bob.crypto.getDeviceVerificationStatus(phone.userId, phone.deviceId);
        return status?.signedByOwner;
    });
    const later = await bob.say(room, "welcome back");
    await phone.reads(room, later, "welcome back");
});
