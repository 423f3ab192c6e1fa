/** What is kept over a restart. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryStorage, Platform } from "../src/index.js";

test("the key and what waits are kept", async () => {
  const storage = new MemoryStorage();
  const first = await Platform.create({ storage });
  const { signId } = first;
  const other = await Platform.create();
  const peer = other.signId;
  first.contacts.devices.add(peer);
  const delivery = await first.messaging.send("chat", peer, 1, { expireAfter: 0.2 });
  await first.close();
  assert.equal(delivery.state, "waiting");
  const second = await Platform.create({ storage });
  assert.deepEqual([second.signId, [...second.contacts.devices]], [signId, [peer]]);
  assert.equal(second.outbox.isEmpty(peer), false);
  await second.flush(peer);
  assert.equal((await storage.read("outbox/")).length, 0);
  await second.close();
  await other.close();
});

test("a node that cannot start closes its storage", async () => {
  let closed = 0;
  class Counted extends MemoryStorage {
    override async close(): Promise<void> {
      closed += 1;
    }
  }
  await assert.rejects(Platform.create({ storage: new Counted(), relays: ["pigeon://loft"] }), /pigeon/);
  assert.equal(closed, 1);
});
