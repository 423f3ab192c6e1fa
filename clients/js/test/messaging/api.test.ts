/** Topics, subscriptions, payloads, and what is kept over a restart. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../../src/codec.js";
import { CodecError, InvalidPayload, InvalidTopic, NoResponders, Refused, Retry } from "../../src/errors.js";
import { MemoryStorage, Platform } from "../../src/index.js";
import { checkTopic, matches } from "../../src/messaging/patterns.js";
import { Journal } from "../../src/storage/journal.js";
import { fromHex, hex } from "../../src/bytes.js";
import { verify } from "../../src/identity/keys.js";

test("patterns", () => {
  const cases: [string, string, boolean][] = [
    ["friends.chat", "friends.chat", true],
    ["friends.*", "friends.chat", true],
    ["friends.*", "friends.chat.a", false],
    ["*.chat", "self.chat", true],
    ["friends.>", "friends.a.b", true],
    ["friends.>", "friends", false],
    [">.b", "a.a.b", true],
    [">.b.>.c", "a.b.b.c", true],
    ["a.>.c", "a.c", false],
  ];
  for (const [pattern, name, expected] of cases) assert.equal(matches(pattern.split("."), name.split(".")), expected, `${pattern} ${name}`);
});

test("topics", () => {
  for (const topic of ["a", "a.b", "é𝄞", "a".repeat(255)]) checkTopic(topic);
  for (const topic of ["", ".", "a.", "a..b", "a b", "a.*", ">", "a\u0000", "a\u200b", "é".repeat(128)]) {
    assert.throws(() => checkTopic(topic), InvalidTopic, JSON.stringify(topic));
  }
});

test("payloads", () => {
  const values = [null, true, 0, -1, 127, -128, 2 ** 32, -(2 ** 40), 2n ** 63n, 0.5, -0, "é", new Uint8Array([1]), [1, [2]], { a: { b: null } }];
  for (const value of values) assert.deepEqual(decode(encode(value)), value);
  assert.deepEqual(decode(encode(new Map([[1, 2]]))), new Map([[1, 2]]));
  assert.deepEqual(decode(encode(new Date(1234))), new Date(1234));
  assert.deepEqual(decode(encode({ a: undefined, b: 1 })), { b: 1 });
  for (const value of [() => 1, Symbol("a"), 2n ** 64n, new (class A {})()]) assert.throws(() => encode(value), InvalidPayload);
  const circle: unknown[] = [];
  circle.push(circle);
  assert.throws(() => encode(circle), InvalidPayload);
  for (const bad of ["", "c1", "a261", "91", "dfffffffff", "0000", "91".repeat(600)]) assert.throws(() => decode(fromHex(bad)), CodecError, bad);
});

test("local messages and requests", async () => {
  const platform = await Platform.create({ storage: new MemoryStorage() });
  const errors: string[] = [];
  platform.on("error", (error, topic) => errors.push(`${topic} ${error.message}`));
  let tries = 0;
  const seen: unknown[] = [];
  platform.messaging.on("self.slow", async (_, __, payload) => {
    await new Promise((go) => setTimeout(go, payload === 1 ? 20 : 0));
    seen.push(payload);
  });
  platform.messaging.on("self.retry", () => {
    if (++tries < 3) throw new Retry(0.001);
  });
  platform.messaging.on("self.refuse", () => {
    throw new Refused("no");
  });
  const end = platform.messaging.on("self.once", () => end());
  const send = async (topic: string, payload?: unknown) => (await platform.messaging.send(topic, "local", payload)).done();
  await Promise.all([send("slow", 1), send("slow", 2)]);
  assert.deepEqual(seen, [1, 2]);
  assert.equal((await send("retry")).state, "delivered");
  assert.equal(tries, 3);
  await assert.rejects(send("refuse"), Refused);
  assert.equal((await send("once")).handled, true);
  assert.equal((await send("once")).reason, "unhandled");
  await assert.rejects(platform.messaging.request("nobody"), NoResponders);
  assert.deepEqual(errors, ["self.refuse no"]);
  await platform.close();
});

test("the key and what waits are kept", async () => {
  const storage = new MemoryStorage();
  const first = await Platform.create({ storage });
  const { signId } = first;
  const peer = (await Platform.create()).signId;
  first.friends.add(peer);
  const delivery = await first.messaging.send("chat", peer, 1, { expireAfter: 0.2 });
  await first.close();
  assert.equal(delivery.state, "waiting");
  const second = await Platform.create({ storage });
  assert.deepEqual([second.signId, [...second.friends]], [signId, [peer]]);
  assert.equal(second.outbox.isEmpty(peer), false);
  await second.flush(peer);
  assert.equal((await storage.read("outbox/")).length, 0);
  await second.close();
});

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
  const second = journal.note([["a", new Uint8Array([2])], ["b", null], ["large", new Uint8Array(5000)]]);
  first();
  assert.deepEqual(journal.rows(), [["a", new Uint8Array([2])], ["b", null]]);
  second();
  assert.deepEqual(journal.rows(), []);
});

test("signatures that only some libraries take verify nowhere", () => {
  const cases = {
    "a key of mixed order":
      "b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b e6050df522ee2d93ab024997bee05d000a4c6dcf2f3acb8c6cc79499ed9422dbf6edee9190329d2a307eee87deb6045304407fd191032e2c62df663d6ee02606",
    "R of mixed order":
      "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572 2856536c4aeeeb789bd4c703a54587280a914c7e7b9054f42dda4012e369282ceaca4d1eb72d57a5cc541792ca93247eb92b41d5ed9c6ddae1b06ba8f55f7708",
    "R of low order":
      "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572 0100000000000000000000000000000000000000000000000000000000000000306f9708abaaecb2d6740dfcf3a6fe2c505a4cc4d61fbcd5be8662d0d3763a0a",
  };
  for (const [name, both] of Object.entries(cases)) {
    const [key, signature] = both.split(" ") as [string, string];
    assert.equal(hex(fromHex(key)), key);
    assert.throws(() => verify(fromHex(key), fromHex(signature), "mm/1 test", new Uint8Array([0x78])), name);
  }
});
