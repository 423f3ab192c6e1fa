/** Requests to a peer that no attempt reaches. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Unreachable } from "../../src/errors.js";
import { PendingRequests } from "../../src/peers/requests.js";

test("who is not reached for a second does not answer", async () => {
  let now = 5000;
  const clock = mock.method(performance, "now", () => now);
  const asked = new PendingRequests();
  const ask = (): Promise<unknown> => asked.ask("t", "ms", new Uint8Array(), 60_000).reply;
  const ended: string[] = [];
  const note = (name: string) => (error: Error) => {
    assert(error instanceof Unreachable);
    ended.push(`${name} ${error.message}`);
  };
  const first = ask().catch(note("first"));
  asked.notReached("refused");
  const second = ask().catch(note("second"));
  now += 500;
  asked.notReached("refused");
  now += 1000;
  asked.notReached("bob: refused");
  await first;
  assert.deepEqual(ended, ["first bob: refused"]); // of the second no attempt has failed that long ago
  asked.reached();
  now += 1000;
  asked.notReached("refused");
  assert.equal(asked.unanswered.length, 1); // a link was up meanwhile
  now += 1000;
  asked.notReached("gone");
  await second;
  assert.deepEqual(ended, ["first bob: refused", "second gone"]);
  clock.mock.restore();
});
