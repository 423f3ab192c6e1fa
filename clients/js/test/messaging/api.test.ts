/** Messages and requests to handlers of this node. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { NoResponders, Refused, Retry } from "../../src/errors.js";
import { MemoryStorage, Platform } from "../../src/index.js";

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
  const end: () => void = platform.messaging.on("self.once", () => end());
  const send = async (topic: string, payload?: unknown) =>
    (await platform.messaging.send(topic, "local", payload)).done();
  await Promise.all([send("slow", 1), send("slow", 2)]);
  assert.deepEqual(seen, [1, 2]);
  assert.equal((await send("retry")).state, "delivered");
  assert.equal(tries, 3);
  await assert.rejects(send("refuse"), Refused);
  assert.equal((await send("once")).state, "delivered");
  await assert.rejects(send("once"), /unhandled/);
  await assert.rejects(platform.messaging.request("nobody"), NoResponders);
  assert.deepEqual(errors, ["self.refuse no"]);
  await platform.close();
});
