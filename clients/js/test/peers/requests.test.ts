/** Requests to a peer that no attempt reaches, and those that nobody waits for any more. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { RequestTimeout, Unreachable } from "../../src/errors.js";
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

test("numbers go on behind those of requests that are forgotten", async () => {
  const asked = new PendingRequests(7);
  assert.deepEqual([asked.asked, asked.floor], [false, 8]);
  const { request, reply } = asked.ask("t", "ms", new Uint8Array(), 60_000);
  assert.deepEqual([request.id, asked.asked, asked.floor, asked.number], [8, true, 8, 8]);
  asked.answered({ id: 8, status: 0, payload: new Uint8Array(1) });
  await reply;
  assert.equal(asked.floor, 9);
});

test("who has patience waits longer for a peer that is not reached, unless that one has left", async () => {
  let now = 100_000;
  const clock = mock.method(performance, "now", () => now);
  const asked = new PendingRequests();
  const ended: string[] = [];
  const ask = (name: string, patience?: number): Promise<unknown> =>
    asked.ask("t", "ms", new Uint8Array(), 60_000, undefined, patience).reply.catch((error: Error) => {
      ended.push(`${name} ${error.message}`);
    });
  const [first, second, third] = [ask("first"), ask("second", 5000), ask("third", 9000)];
  for (let attempt = 0; attempt < 5; attempt++, now += 1000) asked.notReached("refused");
  await first;
  assert.deepEqual(ended, ["first refused"]);
  asked.notReached("gone");
  await second;
  assert.deepEqual(ended, ["first refused", "second gone"]);
  now += 1000;
  asked.notReached("stopped", true);
  await third;
  assert.deepEqual(ended, ["first refused", "second gone", "third stopped"]);
  clock.mock.restore();
});

test("who leaves waits no longer, and the peer is told by the lowest number that is waited for", async () => {
  const asked = new PendingRequests();
  const left = new AbortController();
  const ask = (signal?: AbortSignal): Promise<unknown> =>
    asked.ask("t", "ms", new Uint8Array(), 60_000, signal).reply.catch((error: Error) => error.name);
  const [first, second] = [ask(left.signal), ask()];
  assert.equal(asked.floor, 1);
  left.abort();
  assert.equal(await first, "AbortError");
  assert.deepEqual([asked.floor, asked.unanswered.length], [2, 1]);
  assert.equal(await ask(left.signal), "AbortError", "it was left before it was asked");
  asked.answered({ id: 2, status: 0, payload: new Uint8Array(3) });
  assert.deepEqual([await second, asked.some], [new Uint8Array(3), false]);
});

test("a reply that does not come in time", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = new PendingRequests();
  const { reply } = asked.ask("t", "ms", new Uint8Array(), 50);
  const late = assert.rejects(reply, RequestTimeout);
  t.mock.timers.tick(50);
  await late;
  assert.equal(asked.some, false);
});
