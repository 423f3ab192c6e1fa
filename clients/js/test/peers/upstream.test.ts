/** What is sent to several: all are sent it, or none. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import {
  type Delivery,
  type GroupDelivery,
  Identity,
  InvalidKey,
  LocalError,
  MemoryStorage,
  NotAllDelivered,
  Platform,
  QueueFull,
  Refused,
  type Row,
  type Storage,
} from "../../src/index.js";
import { Middle, ThroughTheMiddle } from "../support/middle.js";

const TIME = { timeout: 20_000 };

async function node(t: TestContext, middle: Middle, storage: Storage = new MemoryStorage()): Promise<Platform> {
  const transports = [new ThroughTheMiddle(middle)];
  const platform = await Platform.create({ storage, relays: ["middle:"], transports, direct: false });
  platform.on("error", () => {});
  t.after(() => platform.close());
  return platform;
}

/** Knows the other two as friends, and they hear its chat; what they heard, by signId. */
async function three(
  t: TestContext,
  storage?: Storage,
): Promise<[Platform, Platform, Platform, Map<string, unknown[]>]> {
  const middle = new Middle();
  const alice = await node(t, middle, storage);
  const [bob, carol] = [await node(t, middle), await node(t, middle)];
  const heard = new Map<string, unknown[]>();
  for (const other of [bob, carol]) {
    alice.add(other.ticket(), "friends");
    other.add(alice.ticket(), "friends");
    heard.set(other.signId, []);
    other.messaging.on("friends.chat", (_, __, payload) => void heard.get(other.signId)!.push(payload));
  }
  return [alice, bob, carol, heard];
}

test("a list, a circle and an array of peers get a message each, with one end for all", TIME, async (t) => {
  const [alice, bob, carol, heard] = await three(t);
  alice.contacts.lists.make("@family", carol.signId, bob.signId);
  const toList: GroupDelivery = await alice.messaging.send("chat", "@family", 1);
  const toCircle: GroupDelivery = await alice.messaging.send("chat", "@friends", 2);
  const toArray: GroupDelivery = await alice.messaging.send("chat", [bob.signId, bob.signId, alice.signId], 3);
  const ends = [await toList.done(), await toCircle.done(), await toArray.done()];
  assert.deepEqual(
    ends.map(({ state }) => state),
    ["delivered", "delivered", "delivered"],
  );
  assert.deepEqual(
    [heard.get(bob.signId), heard.get(carol.signId)],
    [
      [1, 2, 3],
      [1, 2],
    ],
  );
  assert.deepEqual([[...toList.deliveries.keys()], toList.peer], [[carol.signId, bob.signId], "@family"]);
  assert.deepEqual([[...toArray.deliveries.keys()], toArray.peer], [[bob.signId], "1 peer"]);
});

test("who does not take it is named, and one who is away holds up none of the others", TIME, async (t) => {
  const [alice, bob, carol, heard] = await three(t);
  carol.messaging.on("friends.chat", () => {
    throw new Refused("not today");
  });
  const delivery = await alice.messaging.send("chat", "@friends", 1);
  await assert.rejects(delivery.done(), (error: unknown) => {
    assert.ok(error instanceof NotAllDelivered);
    return error.delivered[0] === bob.signId && /not today/.test(error.failed.get(carol.signId)!.message);
  });
  assert.deepEqual(heard.get(bob.signId), [1]);
  const away = Identity.generate().signId;
  const [toAway, toOne]: [GroupDelivery, Delivery] = [
    await alice.messaging.send("chat", [bob.signId, away], 2),
    await alice.messaging.send("chat", away, 3),
  ];
  await toAway.deliveries.get(bob.signId)!.done();
  assert.deepEqual([await toAway.cancel(), await toOne.cancel()], [[away], [away]]);
  await assert.rejects(toAway.done(), /1 of 2 did not get it: .*took it back/);
});

test("all are sent it, or none: also when it could not be saved, or much waits for one", TIME, async (t) => {
  let full = false;
  class Full extends MemoryStorage {
    override async write(rows: Row[]): Promise<void> {
      if (full && rows.some(([key]) => key.startsWith("outbox/"))) throw new LocalError("no room");
      return super.write(rows);
    }
  }
  const [alice, bob, carol, heard] = await three(t, new Full());
  await (await alice.messaging.send("chat", "@friends", 1)).done();
  full = true;
  await assert.rejects(alice.messaging.send("chat", "@friends", 2), /no room/);
  full = false;
  const away = Identity.generate().signId;
  const megabytes = new Uint8Array(33 * 1024 * 1024);
  for (let count = 0; count < 2; count++) await alice.messaging.send("chat", away, megabytes);
  await assert.rejects(alice.messaging.send("chat", [bob.signId, away], 3), QueueFull);
  await (await alice.messaging.send("chat", "@friends", 4)).done();
  assert.deepEqual(
    [heard.get(bob.signId), heard.get(carol.signId)],
    [
      [1, 4],
      [1, 4],
    ],
  );
});

test("a realtime message is dropped for those to whom no link is up", TIME, async (t) => {
  const [alice, bob, carol] = await three(t);
  await alice.connect(bob.signId);
  await alice.connect(carol.signId);
  const away = Identity.generate().signId;
  const delivery = await alice.messaging.send("chat", [bob.signId, away], 1, { realtime: true });
  assert.equal((await delivery.done()).state, "dropped");
  assert.deepEqual(
    Array.from(delivery.deliveries.values(), ({ state }) => state),
    ["sent", "dropped"],
  );
});

test("what is no destination of several is said", TIME, async (t) => {
  const alice = await node(t, new Middle());
  const { messaging } = alice;
  await assert.rejects(messaging.send("chat", "@family", 1), InvalidKey);
  await assert.rejects(messaging.send("chat", "@public", 1), /means everybody else/);
  await assert.rejects(messaging.send("chat", "@friends", 1), /nobody is in @friends/);
  await assert.rejects(messaging.send("chat", [], 1), /no other peer is given/);
  await assert.rejects(messaging.send("chat", ["bob"], 1), InvalidKey);
  await assert.rejects(messaging.request("chat", "@friends", 1), /one answer, so it goes to one peer/);
});

test("lists are kept over a reload", TIME, async (t) => {
  const storage = new MemoryStorage();
  const first = await Platform.create({ storage });
  const other = await Platform.create({ storage: new MemoryStorage() });
  first.contacts.lists.make("@family", other.signId);
  await Promise.all([first.close(), other.close()]);
  const second = await Platform.create({ storage });
  t.after(() => second.close());
  assert.deepEqual(second.contacts.lists.members("@family"), [other.signId]);
});
