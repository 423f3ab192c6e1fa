/** Ids of messages that peers keep: ranges that grow, are cut, and are read again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Received } from "../../src/durable/received.js";
import { DELIVERED } from "../../src/message.js";
import { MemoryStorage } from "../../src/storage/memory.js";

const PEER = "A/".repeat(21).concat("A=");
const PLACE = { peer: PEER, lane: 2, epoch: 7 };

async function opened(storage: MemoryStorage): Promise<Received> {
  const received = new Received(storage, (error) => assert.fail(String(error)));
  await received.open();
  return received;
}

test("ranges join, are cut by receipts, and survive a restart", async () => {
  const storage = new MemoryStorage();
  const first = await opened(storage);
  first.add(PLACE, { low: 1, high: 10, until: 5 });
  first.add(PLACE, { low: 11, high: 20, until: 9 });
  first.add(PLACE, { low: 30, high: 30, until: 9 });
  assert.equal((await storage.read("received/")).length, 2);
  assert.deepEqual(first.end(PLACE, 5, 6), [{ low: 5, high: 6 }]);
  assert.deepEqual(first.end(PLACE, 5, 6), []);
  const second = await opened(storage);
  assert.equal(second.count(PEER), 19);
  assert.equal(second.count("another"), 0);
  assert.deepEqual(second.end(PLACE, 0, 2 ** 53 - 1), [
    { low: 1, high: 4 },
    { low: 7, high: 20 },
    { low: 30, high: 30 },
  ]);
  assert.deepEqual([second.count(PEER), await storage.read("received/")], [0, []]);
});

test("a receipt that came before its acknowledgement is told with it", async () => {
  const received = await opened(new MemoryStorage());
  received.toldEarly(PLACE, { low: 3, high: 4, outcome: DELIVERED });
  assert.deepEqual(received.add({ ...PLACE, lane: 1 }, { low: 1, high: 9, until: 1 }), []);
  assert.deepEqual(received.add(PLACE, { low: 1, high: 9, until: 1 }), [{ low: 3, high: 4, outcome: DELIVERED }]);
  assert.deepEqual(received.add(PLACE, { low: 1, high: 9, until: 1 }), []);
});

test("what nobody told the end of is overdue a week after its expiry", async () => {
  const received = await opened(new MemoryStorage());
  received.add(PLACE, { low: 1, high: 2, until: 1000 });
  const week = 7 * 24 * 3_600_000;
  assert.deepEqual(received.overdue(999 + week), []);
  assert.deepEqual(received.overdue(1000 + week), [{ ...PLACE, low: 1, high: 2, until: 1000 }]);
});
