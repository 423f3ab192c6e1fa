/** What handlers may give. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { givesMany, isThenable } from "../../src/messaging/handlers.js";

test("async generators give many, nothing else does", () => {
  async function* many(): AsyncGenerator<number> {}
  function* few(): Generator<number> {}
  assert.equal(givesMany(many()), true);
  for (const value of [few(), many, null, undefined, 1, "x", [], {}, Promise.resolve(), { [Symbol.asyncIterator]: 1 }])
    assert.equal(givesMany(value), false);
});

test("promises of any kind are waited for", () => {
  // biome-ignore lint/suspicious/noThenProperty: a promise of another kind
  const foreign = { then: () => {} };
  for (const value of [Promise.resolve(), foreign]) assert.equal(isThenable(value), true);
  for (const value of [null, undefined, 1, {}]) assert.equal(isThenable(value), false);
});
