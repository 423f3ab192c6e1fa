/** Payloads that a function makes of plain values, and those that it does not take. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { encode } from "../../src/codec.js";
import { Refused, RequestFailed } from "../../src/errors.js";
import type { Scope } from "../../src/identity/circles.js";
import { MemoryStorage, Platform } from "../../src/index.js";
import { Messaging } from "../../src/messaging/api.js";
import { upstream } from "../support/upstream.js";

interface Reading {
  at: Date;
  celsius: number;
}

/** Takes what a Reading is made of, and no more. */
function reading(value: unknown): Reading {
  const { at, celsius } = value as Record<string, unknown>;
  if (!(at instanceof Date)) throw new TypeError("at is a date");
  if (typeof celsius !== "number") throw new TypeError("celsius is a number");
  if (celsius < -273) throw new Refused("too cold");
  return { at, celsius };
}

const GOOD = { at: new Date(0), celsius: 21.5, more: true };

/** What zod throws, as far as it is looked at. */
class Issues extends Error {
  constructor(readonly issues: unknown) {
    super("[ many lines ]");
  }
}

function messaging(reply: unknown = null): { api: Messaging; failed: string[] } {
  const failed: string[] = [];
  return { api: new Messaging(upstream("own", encode(reply)), (error) => failed.push(error.message)), failed };
}

function ending(api: Messaging, payload: unknown, scope: Scope = "friends"): string {
  let ended = "";
  api.onMessage(scope, "x", "bob", encode(payload), ({ error }) => {
    ended = error ? error.message : "done";
  });
  return ended;
}

/** The words with which a parser that throws `thrown` refuses. */
function words(thrown: unknown, scope: Scope = "friends"): string {
  const { api } = messaging();
  const parse = (): never => {
    throw thrown;
  };
  api.on(`${scope}.x`, () => {}, { parse });
  return ending(api, 1, scope);
}

test("a handler is given what its parser makes, and other handlers beside it the plain value", () => {
  const { api } = messaging();
  const [readings, plain]: [Reading[], unknown[]] = [[], []];
  api.on("friends.x", (_, __, one) => void readings.push(one), { parse: reading });
  api.on("*.x", (_, __, payload) => void plain.push(payload));
  assert.equal(ending(api, GOOD), "done");
  assert.deepEqual([readings, plain], [[{ at: new Date(0), celsius: 21.5 }], [GOOD]]);
});

test("what a parser does not take is refused with the reason, is not tried again, and no handler has failed", () => {
  const { api, failed } = messaging();
  const [seen, others]: [unknown[], unknown[]] = [[], []];
  api.on("friends.x", (_, __, one) => void seen.push(one), { parse: reading, retries: 5, backoff: 0 });
  api.on("friends.x", (_, __, one) => void others.push(one));
  assert.equal(ending(api, { at: 3 }), "bad-payload: at is a date");
  assert.deepEqual([seen, others, failed], [[], [{ at: 3 }], []]);
  api.onEvent("friends", "x", "bob", encode({ at: 3 }));
  assert.deepEqual([seen, failed], [[], []]);
});

test("strangers are told no more than that it does not fit", () => {
  assert.equal(words(new TypeError("of mine"), "public"), "bad-payload");
  assert.equal(words(new TypeError("of mine"), "self"), "bad-payload: of mine");
  assert.equal(words(new Refused("for all"), "public"), "for all");
});

test("an error with issues says the place and what is wrong there", () => {
  const issues = (...all: unknown[]): string => words(new Issues(all));
  assert.equal(
    issues({ path: ["tags", 1], message: "Expected string" }, { message: "more" }),
    "bad-payload: payload.tags[1]: Expected string",
  );
  assert.equal(issues({ path: [{ key: "at" }], message: "no date" }), "bad-payload: payload.at: no date");
  assert.equal(issues({ message: "no map" }), "bad-payload: payload: no map");
  assert.equal(issues({ path: 7, message: "no map" }), "bad-payload: payload: no map");
  for (const odd of [undefined, 7, [], [null], [{ message: 7 }]])
    assert.equal(words(new Issues(odd)), "bad-payload: [ many lines ]");
  for (const odd of ["text", 7, null, undefined]) assert.equal(words(odd), `bad-payload: ${odd}`);
});

test("the words are short, and steer no terminal", () => {
  const text = words(new TypeError(`\u001b[31m${"é".repeat(5000)}`));
  assert.ok(text.startsWith("bad-payload: \\x1b[31mééé"));
  assert.ok([...text].length < 250, `${text.length}`);
});

test("a subscription for one message is not used up by one that does not fit", () => {
  const { api } = messaging();
  const seen: unknown[] = [];
  api.once("friends.x", (_, __, one) => void seen.push(one.celsius), { parse: reading });
  ending(api, {});
  ending(api, GOOD);
  ending(api, GOOD);
  assert.deepEqual(seen, [21.5]);
});

test("a raw handler has its bytes parsed", () => {
  const { api } = messaging();
  const sizes: number[] = [];
  const parse = (value: unknown): number => (value as Uint8Array).length;
  api.on("friends.x", (_, __, size) => void sizes.push(size), { raw: true, parse });
  ending(api, "four");
  assert.deepEqual(sizes, [5]);
});

test("what is no function parses nothing", () => {
  const { api } = messaging();
  const parse = "schema" as unknown as () => number;
  assert.throws(() => api.on("friends.x", () => {}, { parse }), TypeError);
});

test("a reply is parsed, or the request fails with the reason", async () => {
  const reply: Reading = await messaging(GOOD).api.request("x", "bob", null, { parse: reading });
  assert.equal(reply.celsius, 21.5);
  await assert.rejects(
    messaging({ at: 3 }).api.request("x", "bob", null, { parse: reading }),
    (error) => error instanceof RequestFailed && error.message === "the reply does not fit: at is a date",
  );
});

async function node(t: TestContext): Promise<Platform> {
  const platform = await Platform.create({ storage: new MemoryStorage() });
  t.after(() => platform.close());
  return platform;
}

test("messages and requests of this node itself", async (t) => {
  const { messaging: api } = await node(t);
  api.on("self.x", (_, __, one) => one.celsius, { parse: reading });
  assert.equal(await api.request("x", "local", GOOD), 21.5);
  await assert.rejects(api.request("x", "local", {}), /RequestFailed: bad-payload: at is a date/);
  await assert.rejects((await api.send("x", "local", {})).done(), /Refused: .*bad-payload: at is a date/);
});

test("each of many replies is parsed, and the handler is closed at one that does not fit", async (t) => {
  const { messaging: api } = await node(t);
  let closed = 0;
  api.on("self.x", async function* () {
    try {
      yield GOOD;
      yield { at: 3 };
    } finally {
      closed++;
    }
  });
  const replies = api.requestMany("x", "local", null, { parse: reading });
  const first = await replies.next();
  assert.equal(!first.done && first.value.celsius, 21.5);
  await assert.rejects(replies.next(), /RequestFailed: the reply does not fit: at is a date/);
  assert.equal(closed, 1);
});
