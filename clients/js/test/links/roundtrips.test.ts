/** What the latest round trips of a link say. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoundTrips } from "../../src/links/roundtrips.js";

function of(...trips: number[]): RoundTrips {
  const found = new RoundTrips();
  for (const trip of trips) found.add(trip);
  return found;
}

test("all but one of twenty take at most so long; of few the shortest counts", () => {
  assert.equal(of().p95, 0);
  assert.equal(of(1300, 300).p95, 300);
  assert.equal(of(...Array(9).fill(300), 1300).p95, 300);
  assert.equal(of(...Array(8).fill(300), 1300, 1300).p95, 1300);
  assert.equal(of(...Array(61).fill(300), ...Array(3).fill(1300)).p95, 300);
  assert.equal(of(...Array(60).fill(300), ...Array(4).fill(1300)).p95, 1300);
  assert.deepEqual([of().longest, of(7).longest, of(300, 1300, 2000, 400).longest], [0, 7, 1300]);
  assert.equal(of(...Array(4).fill(1300), ...Array(64).fill(300)).p95, 300);
});

test("what waited behind our own traffic says nothing of losses", () => {
  const trips = of(...Array(10).fill(300));
  for (let count = 0; count < 64; count++) trips.add(5000, 65 * 1024);
  assert.equal(trips.p95, 300);
});
