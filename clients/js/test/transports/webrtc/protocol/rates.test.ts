/** How often offers of one peer are answered. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rates } from "../../../../src/transports/webrtc/protocol/rates.js";

test("ten offers at once, then one a second", () => {
  const rates = new Rates();
  const admitted = (count: number, now: number): number =>
    Array.from({ length: count }, () => rates.admit("a", now)).filter(Boolean).length;
  assert.equal(admitted(20, 0), 10);
  assert.equal(admitted(5, 3), 3);
  assert.ok(rates.admit("b", 3));
  for (let peer = 0; peer < 1024; peer++) rates.admit(String(peer), 3);
  assert.equal(admitted(20, 3), 10); // long forgotten
});
