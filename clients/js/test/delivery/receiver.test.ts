/** What the receiving machine refuses. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Budget } from "../../src/delivery/fragments.js";
import { Receiver } from "../../src/delivery/receiver.js";
import { reasonOf } from "../support/vectors.js";

test("a sender that passes its window is refused", () => {
  const receiver = new Receiver(new Budget(1 << 20));
  const record = { seq: 9000, expires: 1e15, topic: "t", protocol: "ms", payload: new Uint8Array(10) };
  const far = { lane: 2, epoch: 1, base: 1, records: [record], pieces: [] };
  assert.equal(
    reasonOf(() => receiver.accept(far, 1)),
    "window",
  );
});
