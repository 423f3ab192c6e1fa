/** Which pulls the asked side answers when, and with what. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ANSWERED, EARLY, LEASE, LONGEST, Serving } from "../../../../src/messaging/series/protocol/serving.js";
import { decodeBatch, MOST, SIZE } from "../../../../src/messaging/series/protocol/wire.js";

const reply = (size: number = 1): Uint8Array => new Uint8Array(size);

/** What the next pull is answered: how many replies, and whether they are the last; or the text of the error. */
function taken(serving: Serving<string>, now: number = 0): unknown {
  const { value, error } = serving.take(now);
  if (error) return error.message;
  const { replies, ended } = decodeBatch(value!);
  return [replies.length, ended];
}

test("pulls are answered in the order of their numbers, once there is anything to answer", () => {
  const serving = new Serving<string>(0);
  assert.equal(serving.pull(1, "first", 0), true);
  assert.equal(serving.due, undefined);
  serving.add(reply());
  serving.add(reply());
  assert.equal(serving.due, "first");
  assert.deepEqual(taken(serving), [2, false]);
  assert.equal(serving.pull(3, "third", 0), true);
  serving.add(reply());
  assert.equal(serving.due, undefined, "the second comes first");
  assert.equal(serving.pull(2, "second", 0), true);
  assert.deepEqual([serving.due, taken(serving), serving.due], ["second", [1, false], undefined]);
  serving.end();
  assert.deepEqual([serving.due, taken(serving), serving.over], ["third", [0, true], true]);
});

test("numbers that were answered, wait already or are too far ahead are refused", () => {
  const serving = new Serving<string>(0);
  assert.equal(serving.pull(0, "", 0), false);
  assert.equal(serving.pull(1, "", 0), true);
  assert.equal(serving.pull(1, "", 0), false);
  assert.equal(serving.pull(EARLY, "", 0), true);
  assert.equal(serving.pull(1 + EARLY, "", 0), false);
  serving.add(reply());
  serving.take(0);
  assert.deepEqual([serving.pull(1, "", 0), serving.pull(1 + EARLY, "", 0)], [false, true]);
});

test("a batch has room for so many replies and bytes, or for one larger one", () => {
  const serving = new Serving<string>(0);
  assert.equal(serving.fits(10 * SIZE), true);
  serving.add(reply(SIZE - 1));
  assert.deepEqual([serving.fits(1), serving.fits(2), serving.size], [true, false, SIZE - 1]);
  serving.take(0);
  for (let count = 0; count < MOST; count++) serving.add(reply(0));
  assert.equal(serving.fits(0), false);
});

test("an error comes behind the replies before it, and is the end", () => {
  const serving = new Serving<string>(0);
  serving.pull(1, "", 0);
  serving.add(reply());
  serving.end(new Error("oops"));
  serving.end(new Error("too late"));
  assert.deepEqual([taken(serving), serving.over], [[1, false], false]);
  serving.pull(2, "", 0);
  assert.deepEqual([serving.due, taken(serving), serving.over], ["", "oops", true]);
});

test("a pull that waits for long is answered with nothing", () => {
  const serving = new Serving<string>(0);
  serving.pull(1, "", 0);
  serving.pull(2, "", 0);
  assert.equal(serving.look(ANSWERED - 1), undefined);
  assert.equal(serving.look(ANSWERED), "answer");
  assert.deepEqual(taken(serving, ANSWERED), [0, false]);
  assert.equal(serving.look(ANSWERED + 1), undefined, "the second waits from then on");
  assert.equal(serving.over, false);
});

test("a series that nobody pulls is closed, one that is kept only after an hour", () => {
  const serving = new Serving<string>(0);
  assert.equal(serving.look(LEASE - 1), undefined);
  assert.equal(serving.look(LEASE), "close");
  serving.keep(LEASE - 1);
  assert.equal(serving.look(LEASE), undefined);
  serving.keep(LONGEST - 1);
  assert.equal(serving.look(LONGEST), "close");
  serving.pull(1, "", LONGEST);
  assert.equal(serving.look(LONGEST), undefined);
});

test("who reads no more has all pulls that wait", () => {
  const serving = new Serving<string>(0);
  serving.add(reply(9));
  serving.pull(1, "a", 0);
  serving.pull(2, "b", 0);
  assert.deepEqual([serving.abandon(), serving.empty, serving.size, serving.due], [["a", "b"], true, 0, undefined]);
});
