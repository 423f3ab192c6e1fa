/** Rows on their way into the database. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Journal } from "../../src/storage/journal.js";

test("the journal keeps what was noted last until that is in the database", () => {
  const kept = new Map<string, string>();
  const storage = new Proxy({} as globalThis.Storage, {
    ownKeys: () => [...kept.keys()],
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    get: (_, name) =>
      ({
        setItem: (key: string, value: string) => kept.set(key, value),
        getItem: (key: string) => kept.get(key) ?? null,
        removeItem: (key: string) => kept.delete(key),
      })[name as string],
  });
  const journal = new Journal("db", storage);
  const first = journal.note([["a", new Uint8Array([1])]]);
  const second = journal.note([
    ["a", new Uint8Array([2])],
    ["b", null],
    ["large", new Uint8Array(5000)],
  ]);
  first();
  assert.deepEqual(journal.rows(), [
    ["a", new Uint8Array([2])],
    ["b", null],
  ]);
  second();
  assert.deepEqual(journal.rows(), []);
});
