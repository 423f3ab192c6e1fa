/** What browsers say of their storage has a name here, and a remedy. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { blocked, cleared, storageFault } from "../../src/storage/faults.js";

const SAID: [name: string, message: string, expected: string, remedy: RegExp][] = [
  ["QuotaExceededError", "Encountered full disk", "StorageFull", /make room/],
  ["DataError", "Failed to write blobs (IOError)", "StorageFull", /make room/],
  ["SecurityError", "The operation is insecure.", "StorageBlocked", /allow cookies and site data/],
  ["UnknownError", "The user denied permission to access the database.", "StorageBlocked", /MemoryStorage/],
  ["InvalidStateError", "The database connection is closing.", "StorageCleared", /opened again/],
  ["UnknownError", "Internal error.", "StorageError", /Internal error/],
];

test("each fault by its name, with what to do", () => {
  for (const [name, message, expected, remedy] of SAID) {
    const fault = storageFault(new DOMException(message, name));
    assert.equal(fault.name, expected);
    assert.match(fault.message, remedy);
  }
});

test("nothing said, and what is an error of ours already", () => {
  assert.equal(storageFault(null).name, "StorageError");
  const fault = blocked("denied");
  assert.equal(storageFault(fault), fault);
});

test("data that were removed: written again, or in memory from now on", () => {
  assert.match(cleared(true).message, /written again/);
  assert.match(cleared(false, "no room").message, /no room.*goes on with its key in memory/);
});
