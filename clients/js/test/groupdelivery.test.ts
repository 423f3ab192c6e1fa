/** One end for a message to several. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { DeliveryError, HandlerFailed, NotAllDelivered, NotRunning } from "../src/errors.js";
import { GroupDelivery } from "../src/groupdelivery.js";
import { DELIVERED, Delivery, EXPIRED, type Outcome, SENT } from "../src/message.js";

const FAILED: Outcome = { state: "failed", reason: "TypeError: oops" };

function group(...peers: string[]): { all: GroupDelivery; each: Delivery[] } {
  const each = peers.map((peer, number) => new Delivery(peer, 2, 7, number, async () => peer.startsWith("away")));
  return { all: new GroupDelivery("@family", new Map(each.map((one) => [one.peer, one]))), each };
}

test("it has ended once it has at all, with the worst end", async () => {
  const { all, each } = group("bob", "carol");
  const done = all.done();
  each[0]!.settle(DELIVERED);
  assert.deepEqual([all.outcome, all.state, all.id, all.peer], [undefined, "waiting", "", "@family"]);
  each[1]!.keep();
  assert.equal(all.state, "received");
  await all.received();
  each[1]!.settle(DELIVERED);
  assert.equal(await done, DELIVERED);
  const { all: sent, each: events } = group("bob", "carol");
  events[0]!.settle(SENT);
  events[1]!.settle({ state: "dropped", reason: "no link is up" });
  assert.equal((await sent.done()).state, "dropped");
});

test("who did not get it is told, with why, beside those who have it", async () => {
  const { all, each } = group("bob", "carol", "dave");
  const done = all.done();
  each[0]!.settle(DELIVERED);
  each[1]!.settle(EXPIRED);
  each[2]!.settle(FAILED);
  await assert.rejects(done, (error: unknown) => {
    assert.ok(error instanceof NotAllDelivered && error instanceof DeliveryError);
    assert.match(error.message, /^@family: 2 of 3 did not get it: .*not confirmed in time; .*TypeError: oops$/);
    assert.deepEqual([[...error.failed.keys()], error.delivered], [["carol", "dave"], ["bob"]]);
    return error.failed.get("dave") instanceof HandlerFailed;
  });
  assert.equal(all.state, "failed");
  await assert.rejects(all.received(), NotAllDelivered);
});

test("of many failures some are told", async () => {
  const { all, each } = group(...Array.from({ length: 30 }, (_, number) => `peer ${number}`));
  for (const one of each) one.settle(FAILED);
  await assert.rejects(all.done(), /30 of 30 .*and 20 more$/);
});

test("a node that stops says so", async () => {
  const { all, each } = group("bob", "carol");
  const done = all.done();
  each[1]!.stop();
  await assert.rejects(done, NotRunning);
});

test("it is taken back from those to whom it has not gone out", async () => {
  const { all, each } = group("away 1", "bob", "away 2");
  assert.deepEqual(await all.cancel(), ["away 1", "away 2"]);
  assert.deepEqual([await each[0]!.cancel(), await each[1]!.cancel()], [["away 1"], []]);
});
