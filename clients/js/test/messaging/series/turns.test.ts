/** Turns of the event loop. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { nextTurn, Turns } from "../../../src/messaging/series/turns.js";

test("each of those who ask has a turn of its own", async () => {
  const turns = new Turns();
  let inThisTurn = 0;
  const most: number[] = [];
  const go = async (): Promise<void> => {
    await turns.next();
    most.push(++inThisTurn);
    void nextTurn().then(() => {
      inThisTurn = 0;
    });
    for (let step = 0; step < 20; step++) await undefined;
  };
  await Promise.all([go(), go(), go()]);
  assert.equal(most.length, 3);
  assert.ok(Math.max(...most) <= 2);
});
