/** The policy of paths: what to use, what to dial, when again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { best, hold, type Path, Retries, wanted } from "../../src/links/paths.js";

const RELAY = { address: "relay", cost: 40, relayed: true, signalled: false };
const DIRECT = { address: "webrtc:", cost: 20, relayed: false, signalled: true };
const WAYS = [RELAY, DIRECT];
const path = (cost: number, p95 = 0, enough = true, heldUntil = 0): Path => {
  return { cost, trips: { p95, longest: p95, enough, count: enough ? 40 : 9 }, heldUntil, relayed: cost === 40 };
};

test("a direct path is used, unless it is much slower", () => {
  const [relay, direct, slow] = [path(40, 30), path(20, 20), path(20, 200)];
  assert.equal(best([relay, direct], relay, 0, 0), direct);
  assert.equal(best([relay, slow], relay, 0, 0), relay);
  assert.equal(best([relay, slow], slow, 61_000, 0), relay);
});

test("a path that is held, or long and hardly known, is not moved to", () => {
  const relay = path(40, 300);
  assert.equal(best([relay, path(20, 20, true, 1000)], relay, 999, 0), relay);
  assert.notEqual(best([relay, path(20, 20, true, 1000)], relay, 1000, 0), relay);
  assert.equal(best([relay, path(20, 150, false)], relay, 0, 0), relay);
  assert.notEqual(best([relay, path(20, 150)], relay, 0, 0), relay);
  const lossy = { ...path(20, 150), trips: { p95: 150, longest: 1200, enough: true, count: 40 } };
  assert.equal(best([relay, lossy], relay, 0, 0), relay);
  const known = path(20, 900, false);
  assert.equal(best([path(40, 50), known], known, 99_000, 0), known);
  assert.deepEqual([1, 2, 3, 40].map(hold), [60_000, 120_000, 240_000, 960_000]);
});

test("paths that are nearly the same do not take turns", () => {
  const [one, other] = [path(40, 60), path(40, 20)];
  assert.equal(best([one, other], one, 0, 0), one);
  const fast = path(40, 0);
  assert.equal(best([path(40, 100), fast], path(40, 100), 0, 0), fast); // the active one is gone
  const slow = path(40, 100);
  assert.equal(best([slow, fast], slow, 59_000, 0), slow);
  assert.equal(best([slow, fast], slow, 61_000, 0), fast);
  const slowest = path(40, 900);
  assert.equal(best([slowest, fast], slowest, 4000, 0), slowest);
  assert.equal(best([slowest, fast], slowest, 6000, 0), fast); // far better
});

test("without an active path the best is used, without any none", () => {
  const direct = path(20);
  assert.equal(best([path(40), direct], undefined, 0, 0), direct);
  assert.equal(best([], undefined, 0, 0), undefined);
});

test("what is better is dialled, then a relay to keep warm", () => {
  assert.deepEqual(wanted(WAYS, [path(40)], path(40)), [DIRECT]);
  assert.deepEqual(wanted(WAYS, [path(40), path(20)], path(40)), []);
  assert.deepEqual(wanted(WAYS, [path(20)], path(20)), [RELAY]);
  assert.deepEqual(wanted(WAYS, [path(20), path(40)], path(20)), []);
  assert.deepEqual(wanted([RELAY], [path(40)], path(40)), []);
});

test("hole punching is left alone for longer each time", () => {
  const retries = new Retries(() => 0);
  const dues = [0, 1, 2, 3, 4, 5, 6].map(() => {
    retries.failed(DIRECT, 0);
    return retries.due(DIRECT);
  });
  assert.deepEqual(dues, [10_000, 30_000, 90_000, 270_000, 810_000, 1_800_000, 1_800_000]);
  assert.equal(retries.due(RELAY), 0);
  retries.failed(RELAY, 100);
  assert.equal(retries.due(RELAY), 2100);
  retries.ended(false, true, 200);
  assert.equal(retries.due(RELAY), 200);
  retries.ended(false, false, 200);
  retries.ended(false, false, 200);
  assert.equal(retries.due(RELAY), 1200);
  retries.reset();
  assert.equal(retries.due(DIRECT), 0);
});
