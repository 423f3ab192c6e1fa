/** What becomes of messages that nobody listens to, or whose handlers throw: kept, left, refused, failed. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import {
  type Delivery,
  HandlerFailed,
  MemoryStorage,
  NoResponders,
  Platform,
  Refused,
  RequestFailed,
  type Storage,
} from "../../src/index.js";
import { Middle, ThroughTheMiddle } from "../support/middle.js";

const TIME = { timeout: 20_000 };
const QUICK = { retries: 2, backoff: 0.001 };

async function node(t: TestContext, middle: Middle, storage: Storage = new MemoryStorage()): Promise<Platform> {
  const platform = await Platform.create({
    storage,
    relays: ["middle:"],
    direct: false,
    transports: [new ThroughTheMiddle(middle)],
  });
  t.after(() => platform.close());
  platform.on("error", () => {});
  return platform;
}

/** `one` and `other` know each other; with `friends` false `one` is a stranger to `other`. */
async function two(t: TestContext, friends: boolean = true): Promise<[Platform, Platform, Middle]> {
  const middle = new Middle();
  const [one, other] = [await node(t, middle), await node(t, middle)];
  one.add(other.ticket(), "friends");
  if (friends) other.add(one.ticket(), "friends");
  await one.connect(other.signId);
  return [one, other, middle];
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test("a friend's messages are kept for a handler to come, and end when it is done", TIME, async (t) => {
  const [one, other] = await two(t);
  const sent: Delivery[] = [];
  for (let number = 0; number < 200; number++) sent.push(await one.messaging.send("chat", other.signId, number));
  await Promise.all(sent.map((delivery) => delivery.received()));
  assert.equal(sent[199]!.state, "received");
  assert.equal(one.unsettled(other.signId), 0);
  assert.equal(one.outbox.keptBy(other.signId), 200);
  assert.equal((await other.inbox.list()).length, 200);
  const heard: unknown[] = [];
  other.messaging.on("friends.chat", async (_name, _sender, payload) => {
    await Promise.resolve();
    heard.push(payload);
  });
  const late = await one.messaging.send("chat", other.signId, 200);
  for (const delivery of [...sent, late]) assert.equal((await delivery.done()).state, "delivered");
  assert.deepEqual(
    heard,
    Array.from({ length: 201 }, (_, number) => number),
  );
  assert.deepEqual(await other.inbox.list(), []);
  assert.equal(one.outbox.keptBy(other.signId), 0);
});

test("other topics pass while one is held", TIME, async (t) => {
  const [one, other] = await two(t);
  other.messaging.on("friends.news", () => {});
  const held = await one.messaging.send("chat", other.signId, 1);
  assert.equal((await (await one.messaging.send("news", other.signId, 2)).done()).state, "delivered");
  await held.received();
  assert.equal(held.state, "received");
});

test("what is kept survives restarts of both ends, and its end is told once both are there", TIME, async (t) => {
  const middle = new Middle();
  const disks = [new MemoryStorage(), new MemoryStorage()] as const;
  let [one, other] = [await node(t, middle, disks[0]), await node(t, middle, disks[1])];
  one.add(other.ticket(), "friends");
  other.add(one.ticket(), "friends");
  await (await one.messaging.send("chat", other.signId, "kept")).received();
  await Promise.all([one.close(), other.close()]);
  assert.equal((await disks[0].read("outbox/")).length, 0);
  other = await node(t, middle, disks[1]);
  const heard: unknown[] = [];
  other.messaging.on("friends.chat", (_name, _sender, payload) => void heard.push(payload));
  await until(() => heard.length > 0);
  one = await node(t, middle, disks[0]);
  assert.equal(one.outbox.keptBy(other.signId), 1);
  await until(() => one.outbox.keptBy(other.signId) === 0);
  assert.deepEqual([heard, await disks[1].read("held/"), await disks[1].read("ended/")], [["kept"], [], []]);
});

test("a held message whose time is over expires, and its sender hears of it", TIME, async (t) => {
  const [one, other] = await two(t);
  const delivery = await one.messaging.send("chat", other.signId, 1, { expireAfter: 0.3 });
  await delivery.received();
  await assert.rejects(delivery.done(), /expired|not confirmed/);
  assert.deepEqual(await other.inbox.list(), []);
});

test("a stranger's message waits with its sender until there is a handler, then it is refused", TIME, async (t) => {
  const [one, other] = await two(t, false);
  const chat = await one.messaging.send("chat", other.signId, 1);
  const nothing = await one.messaging.send("nothing", other.signId, 2);
  const after = await one.messaging.send("chat", other.signId, 3);
  await one.ping(other.signId);
  assert.deepEqual([chat.state, nothing.state], ["waiting", "waiting"]);
  const heard: unknown[] = [];
  other.messaging.on("public.chat", (_name, _sender, payload) => void heard.push(payload));
  assert.equal((await chat.done()).state, "delivered");
  await after.done();
  assert.equal(nothing.state, "waiting");
  other.setUp();
  other.decline(one.signId);
  await assert.rejects(nothing.done(), (error) => error instanceof Refused && /unhandled/.test(error.message));
  assert.deepEqual(heard, [1, 3]);
  await assert.rejects((await one.messaging.send("nothing", other.signId)).done(), /unhandled/);
  assert.deepEqual(await other.inbox.list(), []);
});

test("who is a friend on one side only asks, and is heard once accepted", TIME, async (t) => {
  const [one, other] = await two(t, false);
  other.setUp();
  await until(() => other.asking().length === 1);
  const delivery = await one.messaging.send("chat", other.signId, 1);
  await one.ping(other.signId);
  assert.deepEqual([other.asking()[0]!.peer, delivery.state], [one.signId, "waiting"]);
  other.add(one.signId, "friends");
  await delivery.received();
  assert.deepEqual([delivery.state, other.asking()], ["received", []]);
});

test("who asks and is turned down is refused", TIME, async (t) => {
  const [one, other] = await two(t, false);
  other.setUp();
  await until(() => other.asking().length === 1);
  const delivery = await one.messaging.send("chat", other.signId, 1);
  await one.ping(other.signId);
  assert.deepEqual([other.decline(one.signId), other.decline(one.signId)], [true, false]);
  await assert.rejects(delivery.done(), /unhandled/);
});

test("a stranger that is added as a friend is heard", TIME, async (t) => {
  const [one, other] = await two(t, false);
  const delivery = await one.messaging.send("chat", other.signId, 1);
  await one.ping(other.signId);
  assert.equal(delivery.state, "waiting");
  other.add(one.signId, "friends");
  await delivery.received();
  assert.equal(delivery.state, "received");
});

test("a request waits for its handler until all is set up", TIME, async (t) => {
  const [one, other] = await two(t);
  const answer = one.messaging.request("add", other.signId, [1, 2]);
  const nobody = one.messaging.request("nobody", other.signId);
  nobody.catch(() => {});
  await one.ping(other.signId);
  other.messaging.on("friends.add", (_name, _sender, payload) => (payload as number[]).reduce((a, b) => a + b));
  assert.equal(await answer, 3);
  other.setUp();
  await assert.rejects(nobody, NoResponders);
  await assert.rejects(one.messaging.request("nobody", other.signId), NoResponders);
});

test("a handler that throws gets a message again, and then it is among the failed ones", TIME, async (t) => {
  const [one, other] = await two(t);
  const heard: unknown[] = [];
  let broken = true;
  const handle = (_name: string, _sender: string, payload: unknown): void => {
    heard.push(payload);
    if (payload === "bad" && broken) throw new TypeError("no");
  };
  other.messaging.on("friends.chat", handle, QUICK);
  const bad = await one.messaging.send("chat", other.signId, "bad");
  await assert.rejects(bad.done(), (error) => error instanceof HandlerFailed && /TypeError: no/.test(error.message));
  assert.deepEqual(heard, ["bad", "bad", "bad"]);
  const [failed] = await other.inbox.list({ failed: true });
  assert.deepEqual(
    [failed!.id.split("@")[0], failed!.sender, failed!.topic, failed!.payload, failed!.error],
    [bad.id.split("@")[0], one.signId, "chat", "bad", "TypeError: no"],
  );
  broken = false;
  assert.deepEqual(await Promise.all([other.inbox.retry(failed!), other.inbox.retry(failed!)]), [true, false]);
  await until(() => heard.length === 4);
  await until(() => !other.inbox.topics.size);
  assert.deepEqual(await other.inbox.list({ failed: true }), []);
  assert.equal(bad.state, "failed");
});

test("a held message whose handler throws fails, too; dropped ones are refused", TIME, async (t) => {
  const [one, other] = await two(t);
  const [bad, dropped] = [await one.messaging.send("a", other.signId), await one.messaging.send("b", other.signId)];
  await Promise.all([bad.received(), dropped.received()]);
  other.messaging.on("friends.a", () => Promise.reject(new RangeError("far")), QUICK);
  await assert.rejects(bad.done(), /RangeError: far/);
  const [held] = await other.inbox.list();
  assert.equal(await other.inbox.drop(held!), true);
  assert.equal(await other.inbox.drop(held!), false);
  await assert.rejects(dropped.done(), /dropped unread/);
  const [failed] = await other.inbox.list({ failed: true });
  assert.equal(await other.inbox.drop(failed!), true);
  assert.deepEqual(await other.inbox.list({ failed: true }), []);
});

test("strangers hear what is meant for them, and no error of ours", TIME, async (t) => {
  const [one, other] = await two(t, false);
  other.messaging.on("public.secret", () => Promise.reject(new Error("the password is 1234")), { retries: 0 });
  other.messaging.on("public.refuse", () => Promise.reject(new Refused("not today")));
  const ends = async (topic: string): Promise<string> => {
    const delivery = await one.messaging.send(topic, other.signId);
    return delivery.done().then(
      ({ state }) => state,
      (error: Error) => `${error.name} ${error.message.split(": ").slice(1).join(": ")}`,
    );
  };
  const asks = (topic: string): Promise<unknown> =>
    one.messaging.request(topic, other.signId).catch((error: Error) => `${error.name} ${error.message}`);
  assert.equal(await ends("secret"), "HandlerFailed failed");
  assert.equal(await ends("refuse"), "Refused not today");
  assert.equal(await asks("secret"), "RequestFailed failed");
  assert.equal(await asks("refuse"), "RequestFailed not today");
  other.add(one.signId, "friends");
  other.messaging.on("friends.secret", () => Promise.reject(new Error("a word")), { retries: 0 });
  assert.equal(await ends("secret"), "HandlerFailed Error: a word");
  await assert.rejects(one.messaging.request("secret", other.signId), RequestFailed);
  assert.equal(await asks("secret"), "RequestFailed Error: a word");
});

test("an ordered subscription holds later messages back while one is repeated", TIME, async (t) => {
  const [one, other] = await two(t);
  const heard: { ordered: unknown[]; passing: unknown[] } = { ordered: [], passing: [] };
  for (const topic of ["ordered", "passing"] as const) {
    let tries = 0;
    other.messaging.on(
      `friends.${topic}`,
      (_name, _sender, payload) => {
        if (payload === 1 && ++tries < 3) throw new Error("not yet");
        heard[topic].push(payload);
      },
      { retries: 5, backoff: 0.005, ordered: topic === "ordered" },
    );
    const sent = [1, 2, 3].map((number) => one.messaging.send(topic, other.signId, number));
    await Promise.all((await Promise.all(sent)).map((delivery) => delivery.done()));
  }
  assert.deepEqual(heard, { ordered: [1, 2, 3], passing: [2, 3, 1] });
});

test("a malformed receipt is refused", TIME, async (t) => {
  const [one, other] = await two(t);
  const delivery = await one.outbox.put(other.signId, 0, "receipt", "receipt", new Uint8Array([7]), Date.now() + 9999);
  await assert.rejects(delivery.done(), /bad-payload/);
});
