/** Replies as they come of a handler of this node. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused, RequestFailed } from "../../../src/errors.js";
import { readHere } from "../../../src/messaging/series/here.js";

async function here(value: unknown, failed: Error[] = []): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const reply of readHere(value, 10_000, new AbortController(), (error) => failed.push(error)))
    found.push(reply);
  return found;
}

test("replies of this node are copies, and the only one is one", async () => {
  const mine = { numbers: [1] };
  async function* count(): AsyncGenerator<unknown> {
    yield mine;
    mine.numbers.push(2);
    yield new Set([2]);
  }
  assert.deepEqual(await here(count()), [{ numbers: [1] }, [2]]);
  assert.deepEqual(await here("the only one"), ["the only one"]);
  assert.deepEqual(await here(undefined), [null]);
});

test("what a handler throws is its own, and reported", async () => {
  async function* fail(error: Error): AsyncGenerator<number> {
    yield 1;
    throw error;
  }
  const failed: Error[] = [];
  await assert.rejects(here(fail(new RangeError("oops")), failed), /^RequestFailed: RangeError: oops$/);
  await assert.rejects(here(fail(new Refused("not on Sundays")), failed), /^RequestFailed: not on Sundays$/);
  assert.equal(failed.length, 2);
});

test("what cannot be sent is an error here, too", async () => {
  async function* odd(): AsyncGenerator<unknown> {
    yield () => {};
  }
  await assert.rejects(here(odd()), RequestFailed);
});

test("who leaves the loop closes the generator", async () => {
  let closed = 0;
  async function* count(): AsyncGenerator<number> {
    try {
      for (let number = 0; ; number++) yield number;
    } finally {
      closed++;
    }
  }
  const reader = new AbortController();
  for await (const number of readHere(count(), 10_000, reader, () => {})) if (number === 3) break;
  assert.deepEqual([closed, reader.signal.aborted], [1, true]);
});

test("a handler that takes too long is told by its signal, and closed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const reader = new AbortController();
  let left: () => void = () => {};
  const closed = new Promise<void>((resolve) => {
    left = resolve;
  });
  async function* hang(signal: AbortSignal): AsyncGenerator<number> {
    try {
      yield 1;
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    } finally {
      left();
    }
  }
  const failed: Error[] = [];
  const replies = readHere(hang(reader.signal), 50, reader, (error) => failed.push(error));
  await replies.next();
  const late = assert.rejects(replies.next(), /RequestTimeout: no further reply within 0.05 seconds/);
  t.mock.timers.tick(50);
  await late;
  await closed;
  assert.deepEqual(failed, []);
});
