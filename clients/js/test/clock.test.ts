/** A clock that is days off is told, once, in the words of whoever has to set it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../src/clock.js";

const DAY = 24 * 3600 * 1000;
const NOW = 1_800_000_000_000;

function clock(): { clock: Clock; told: string[] } {
  const told: string[] = [];
  return {
    clock: new Clock(
      (error) => told.push(`${error.name}: ${error.message}`),
      () => NOW,
    ),
    told,
  };
}

test("weeks behind and ahead of a friend, told once until it is right again", () => {
  const { clock: ours, told } = clock();
  ours.heard(NOW + 21 * DAY, false);
  ours.heard(NOW + 21 * DAY, false);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^ClockWrong: the clock of this device is 21 days behind that of others: set it/);
  ours.heard(NOW, false);
  ours.heard(NOW - 21 * DAY, false);
  assert.match(told[1]!, /21 days ahead of/);
});

test("hours are no fault, and what is old was made long ago", () => {
  const { clock: ours, told } = clock();
  ours.heard(NOW + DAY / 2, false);
  ours.heard(NOW - 100 * DAY, true);
  assert.deepEqual(told, []);
  ours.heard(NOW + 3 * DAY, true);
  assert.equal(told.length, 1);
});
