/** What a payload may be: its size and its number of values, by the scope of its sender and by subscription. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode, MAX_VALUES } from "../../src/codec.js";
import type { Scope } from "../../src/identity/circles.js";
import { MAX_PAYLOAD } from "../../src/message.js";
import { Messaging } from "../../src/messaging/api.js";
import { Dispatcher } from "../../src/messaging/dispatch.js";
import { PUBLIC_SIZE, PUBLIC_VALUES, type SubscriptionOptions } from "../../src/messaging/options.js";
import { upstream } from "../support/upstream.js";

const OWN = "own";

function messaging(reply: Uint8Array = encode(null)): Messaging {
  return new Messaging(upstream(OWN, reply), (error) => {
    throw error;
  });
}

/** A list of empty lists. */
function lists(number: number): Uint8Array {
  const data = new Uint8Array(5 + number - 1).fill(0x90);
  data[0] = 0xdd;
  new DataView(data.buffer).setUint32(1, number - 1);
  return data;
}

/** How a message ends, by the options of the one subscription to it. */
function ending(payload: Uint8Array, scope: Scope = "public", options: SubscriptionOptions = {}): string {
  const api = messaging();
  let ended = "";
  api.on(`${scope}.x`, () => {}, options);
  api.onMessage(scope, "x", "bob", payload, ({ error }) => {
    ended = error?.message ?? "done";
  });
  return ended;
}

test("payloads of too many values, or too large, are refused, by scope and subscription", () => {
  assert.equal(ending(lists(PUBLIC_VALUES)), "done");
  assert.equal(ending(lists(PUBLIC_VALUES + 1)), "bad-payload");
  for (const scope of ["friends", "self"] as const) {
    assert.equal(ending(lists(PUBLIC_VALUES + 1), scope), "done");
    assert.equal(ending(lists(MAX_VALUES + 1), scope), "bad-payload");
    assert.equal(ending(encode(new Uint8Array(PUBLIC_SIZE)), scope), "done");
  }
  assert.equal(ending(encode(new Uint8Array(PUBLIC_SIZE - 5))), "done");
  assert.equal(ending(encode(new Uint8Array(PUBLIC_SIZE - 4))), "too-large");
  assert.equal(ending(encode(new Uint8Array(PUBLIC_SIZE)), "public", { maxSize: 2 * PUBLIC_SIZE }), "done");
  assert.equal(ending(encode(new Uint8Array(9)), "friends", { maxSize: 10 }), "too-large");
  assert.equal(ending(encode([1, 2]), "friends", { maxValues: 2 }), "bad-payload");
  assert.equal(ending(encode([1, 2]), "friends", { maxValues: 3 }), "done");
});

test("a raw handler gets the bytes, others beside it the value, and nobody decodes for nobody", () => {
  const api = messaging();
  const [raw, decoded]: [unknown[], unknown[]] = [[], []];
  api.on("public.>", (_, __, payload) => void raw.push(payload), { raw: true });
  api.onEvent("public", "x", "bob", Uint8Array.of(0xc1));
  assert.deepEqual(raw, [Uint8Array.of(0xc1)]);
  api.on("public.x", (_, __, payload) => void decoded.push(payload));
  api.onEvent("public", "x", "bob", encode([1]));
  api.onEvent("public", "x", "bob", Uint8Array.of(0xc1));
  assert.deepEqual([raw.length, decoded], [2, [[1]]]);
});

test("a reply is no bomb either", async () => {
  await assert.rejects(messaging(lists(MAX_VALUES + 1)).request("x", "bob"), /values/);
});

test("the most that strangers may send is known, and bounds that are none are not taken", () => {
  const [api, dispatcher] = [messaging(), new Dispatcher()];
  dispatcher.attach("ms", api);
  assert.equal(dispatcher.largest("public"), PUBLIC_SIZE);
  assert.equal(dispatcher.largest("friends"), MAX_PAYLOAD);
  api.on("friends.x", () => {}, { maxSize: 9 * PUBLIC_SIZE });
  const end = api.on("*.x", () => {}, { maxSize: 2 * PUBLIC_SIZE });
  assert.equal(dispatcher.largest("public"), 2 * PUBLIC_SIZE);
  end();
  assert.equal(dispatcher.largest("public"), PUBLIC_SIZE);
  for (const bound of [0, -1, 1.5, Number.NaN, MAX_PAYLOAD + 1]) {
    assert.throws(() => api.on("public.x", () => {}, { maxSize: bound }), RangeError);
    assert.throws(() => api.on("public.x", () => {}, { maxValues: bound }), RangeError);
  }
});
