/** Which pulls the asking side sends. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { CodecError } from "../../../../src/errors.js";
import { AHEAD, Asking } from "../../../../src/messaging/series/protocol/asking.js";
import { decodePull, decodeStop, encodeBatch, KEEP } from "../../../../src/messaging/series/protocol/wire.js";

const REPLY = Uint8Array.of(1);
const batch = (ended: boolean, ...replies: Uint8Array[]): Uint8Array => encodeBatch({ ended, replies });

test("one pull asks, and two are outstanding from then on", () => {
  const asking = new Asking(7);
  assert.deepEqual(decodePull(asking.first(REPLY)), { series: 7, number: 1, payload: REPLY });
  asking.answered(batch(false, REPLY));
  assert.deepEqual(
    asking.ahead().map((pull) => decodePull(pull).number),
    [2, 3],
  );
  assert.deepEqual(asking.ahead(), []);
  asking.answered(batch(false));
  assert.deepEqual(
    asking.ahead().map((pull) => decodePull(pull)),
    [{ series: 7, number: 1 + AHEAD + 1, payload: new Uint8Array(0) }],
  );
  assert.equal(decodePull(asking.keep()).number, KEEP);
  assert.equal(decodeStop(asking.stop()!), 7);
});

test("who was told the end asks for no more, and says no stop", () => {
  const asking = new Asking(7);
  asking.first(REPLY);
  assert.equal(asking.answered(batch(true, REPLY)).ended, true);
  assert.deepEqual([asking.over, asking.ahead(), asking.stop()], [true, [], undefined]);
});

test("what is no batch is said to be none, and the other side is told to stop", () => {
  const asking = new Asking(7);
  asking.first(REPLY);
  assert.throws(() => asking.answered(Uint8Array.of(0xc1)), CodecError);
  assert.notEqual(asking.stop(), undefined);
});

test("behind empty batches that come one after the other there is a pause", () => {
  const asking = new Asking(7);
  assert.equal(asking.pause(5000), 0);
  assert.equal(asking.pause(5001), 99);
  assert.equal(asking.pause(5100), 100);
  assert.equal(asking.pause(15_000), 0);
});
