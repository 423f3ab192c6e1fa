/** Replies as they come between whole nodes, with links that are cut. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { MemoryStorage, NoResponders, Platform, RequestFailed, RequestTimeout } from "../../../src/index.js";
import { nextTurn } from "../../../src/messaging/series/turns.js";
import { Middle, ThroughTheMiddle } from "../../support/middle.js";

const TIME = { timeout: 20_000 };

interface Two {
  /** Asks. */
  alice: Platform;
  /** Replies. */
  bob: Platform;
  middle: Middle;
  /** How many generators have ended. */
  closed: () => number;
  /** Lets a generator go on that waits. */
  open: () => void;
}

async function two(t: TestContext): Promise<Two> {
  const middle = new Middle();
  const node = async (): Promise<Platform> => {
    const transports = [new ThroughTheMiddle(middle)];
    const platform = await Platform.create({ storage: new MemoryStorage(), relays: ["middle:"], transports });
    platform.on("error", () => {});
    t.after(() => platform.close());
    return platform;
  };
  const [alice, bob] = [await node(), await node()];
  alice.add(bob.ticket(), "friends");
  bob.add(alice.ticket(), "friends");
  await alice.connect(bob.signId);
  let closed = 0;
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  bob.messaging.on("*.count", async function* (_, __, payload) {
    try {
      for (let number = 0; number < (payload as number); number++) yield number;
    } finally {
      closed++;
    }
  });
  bob.messaging.on("friends.wait", async function* () {
    try {
      yield 0;
      await gate;
      yield 1;
    } finally {
      closed++;
    }
  });
  bob.setUp();
  return { alice, bob, middle, closed: () => closed, open };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

test("many thousand replies come once and in order, while links are cut", TIME, async (t) => {
  const { alice, bob, middle, closed } = await two(t);
  let expected = 0;
  for await (const reply of alice.messaging.requestMany("count", bob.signId, 20_000)) {
    assert.equal(reply, expected++);
    if (expected % 4000 === 0) middle.cut();
  }
  assert.deepEqual([expected, closed()], [20_000, 1]);
});

test("a reply arrives before the next is made, and a series goes on over the next link", TIME, async (t) => {
  const { alice, bob, middle, open } = await two(t);
  const replies = alice.messaging.requestMany("wait", bob.signId);
  assert.equal((await replies.next()).value, 0);
  middle.cut();
  open();
  assert.equal((await replies.next()).value, 1);
  assert.equal((await replies.next()).done, true);
});

test("who leaves the loop closes the generator of the peer", TIME, async (t) => {
  const { alice, bob, closed } = await two(t);
  for await (const reply of alice.messaging.requestMany("count", bob.signId, 1e9)) if (reply === 10) break;
  await until(() => closed() === 1);
});

test("it fails as requests do", TIME, async (t) => {
  const { alice, bob, closed, open } = await two(t);
  bob.messaging.on("friends.fail", async function* () {
    yield 1;
    throw new TypeError("no more");
  });
  const replies = alice.messaging.requestMany("fail", bob.signId);
  assert.equal((await replies.next()).value, 1);
  await assert.rejects(replies.next(), /RequestFailed: TypeError: no more/);
  await assert.rejects(alice.messaging.requestMany("nothere", bob.signId).next(), NoResponders);
  await assert.rejects(alice.messaging.request("count", bob.signId, 3), /RequestFailed.*requestMany/);
  await assert.rejects((await alice.messaging.send("count", bob.signId, 3)).done(), /Refused.*requestMany/);
  assert.throws(() => alice.messaging.requestMany("count", bob.signId, 3, { timeout: 0 }), RangeError);
  const late = alice.messaging.requestMany("wait", bob.signId, null, { timeout: 0.05 });
  await late.next();
  await assert.rejects(late.next(), RequestTimeout);
  open();
  await until(() => closed() === 1);
});

test("a peer that stops, or knows the asker no more as a friend, ends it with the reason", TIME, async (t) => {
  const { alice, bob } = await two(t);
  const [first, second] = ["wait", "wait"].map((topic) => alice.messaging.requestMany(topic, bob.signId));
  await first!.next();
  await alice.ping(bob.signId); // its next pulls are there
  bob.contacts.friends.delete(alice.signId);
  await assert.rejects(first!.next(), /RequestFailed: you are something else/);
  bob.contacts.friends.add(alice.signId);
  await second!.next();
  await alice.ping(bob.signId);
  const ended = assert.rejects(second!.next(), RequestFailed);
  await bob.close();
  await ended;
});

test("replies of this node itself come the same way", TIME, async (t) => {
  const { bob, closed } = await two(t);
  const found: unknown[] = [];
  for await (const reply of bob.messaging.requestMany("count", "local", 3)) found.push(reply);
  assert.deepEqual([found, closed()], [[0, 1, 2], 1]);
  await assert.rejects(bob.messaging.requestMany("nothere").next(), NoResponders);
});
