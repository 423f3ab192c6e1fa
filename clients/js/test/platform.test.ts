/** What is kept over a restart. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cancelled, MemoryStorage, Platform } from "../src/index.js";

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

test("what waits is listed, and taken back for good", async () => {
  const storage = new MemoryStorage();
  const first = await Platform.create({ storage });
  const other = await Platform.create();
  const peer = other.signId;
  const sent = await Promise.all([1, 2, 3].map((payload) => first.messaging.send("chat", peer, payload)));
  assert.deepEqual(
    first.waiting().map(({ id, topic, priority, size, state }) => [id, topic, priority, size, state]),
    sent.map(({ id }) => [id, "chat", "normal", 1, "waiting"]),
  );
  const [one, two, three] = sent.map(({ id }) => id);
  assert.equal(await first.cancel(two!), true);
  assert.equal(await first.cancel(two!), false);
  assert.equal(await first.cancel("junk"), false);
  await assert.rejects(sent[1]!.done(), Cancelled);
  assert.equal(sent[1]!.state, "cancelled");
  await first.close();
  const second = await Platform.create({ storage });
  const ids = (): string[] => second.waiting(peer).map(({ id }) => id);
  assert.deepEqual(ids(), [one, three], "it does not come back");
  assert.equal(await second.cancel(one!), true);
  assert.equal(await second.cancel(three!), true);
  assert.deepEqual([ids(), second.outbox.isEmpty(peer)], [[], true]);
  assert.equal((await storage.read("outbox/")).length, 0);
  await second.close();
  await other.close();
});

test("a relay that keeps a letter is not left it again after a reload", async () => {
  const storage = new MemoryStorage();
  const first = await Platform.create({ storage });
  const other = await Platform.create();
  const peer = other.signId;
  await Promise.all([1, 2].map((payload) => first.messaging.send("chat", peer, payload)));
  const letter = first.outbox.sender(peer).letter(10_000);
  assert.deepEqual(letter.batches[0]!.records.length, 2);
  letter.mailed();
  first.outbox.noteMailed(peer);
  await first.messaging.send("chat", peer, 3);
  await first.close();
  const second = await Platform.create({ storage });
  assert.deepEqual(
    second.waiting(peer).map(({ state }) => state),
    ["relayed", "relayed", "waiting"],
  );
  const left = second.outbox
    .sender(peer)
    .letter(10_000)
    .batches.flatMap(({ records }) => records);
  assert.deepEqual(
    left.map(({ seq }) => seq),
    [3],
  );
  second.outbox.forgetMailed(peer); // the relay said that it is gone
  assert.equal(second.outbox.sender(peer).letter(10_000).batches[0]!.records.length, 3);
  await second.close();
  const third = await Platform.create({ storage });
  assert.equal(third.outbox.sender(peer).letter(10_000).batches[0]!.records.length, 3);
  await third.close();
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
