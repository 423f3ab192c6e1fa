/** The side that runs generators: batches, pulls, leases and bounds. */

import assert from "node:assert/strict";
import { mock, type TestContext, test } from "node:test";

import { decode, encode } from "../../../src/codec.js";
import { Refused } from "../../../src/errors.js";
import type { Scope } from "../../../src/identity/circles.js";
import type { SignId } from "../../../src/identity/keys.js";
import { Messaging } from "../../../src/messaging/api.js";
import type { InHand } from "../../../src/messaging/dispatch.js";
import { PUBLIC_SIZE } from "../../../src/messaging/options.js";
import { HELD_OF_PEER, OF_NETWORK, OF_STRANGER } from "../../../src/messaging/series/protocol/places.js";
import { ANSWERED, EARLY, LEASE } from "../../../src/messaging/series/protocol/serving.js";
import { decodeBatch, encodePull, encodeStop, KEEP, MOST, SIZE } from "../../../src/messaging/series/protocol/wire.js";
import { nextTurn } from "../../../src/messaging/series/turns.js";
import { NOBODY, type Result } from "../../../src/messaging/subscriber.js";
import { upstream } from "../../support/upstream.js";

const [ALICE, EVE] = ["alice" as SignId, "eve" as SignId];

interface Pulling {
  payload?: unknown;
  series?: number;
  sender?: SignId;
  scope?: Scope;
}

/** One pull, and what it was answered. */
class Asked implements InHand {
  readonly party = "relay";
  answer: unknown;
  isWanted = true;
  isClogged = false;

  finish(result: Result<Uint8Array>): void {
    assert.equal(this.answer, undefined, "answered once");
    if (result === NOBODY) this.answer = "nobody";
    else if (result.error) this.answer = result.error.message;
    else {
      const { replies, ended } = decodeBatch(result.value!);
      this.answer = [replies.map((reply) => decode(reply)), ended];
    }
  }

  wanted(): boolean {
    return this.isWanted;
  }

  clogged(): boolean {
    return this.isClogged;
  }

  /** Its answer, once it is there. */
  async done(): Promise<unknown> {
    for (let turn = 0; turn < 1000 && this.answer === undefined; turn++) await nextTurn();
    return this.answer;
  }
}

/** An API and its server of series, without a wire. */
class Served {
  readonly errors: string[] = [];
  readonly api = new Messaging(upstream("own"), (error, topic) => this.errors.push(`${topic} ${error.message}`));

  constructor(t: TestContext) {
    t.after(() => this.api.close());
  }

  pull(number: number, { payload, series = 1, sender = ALICE, scope = "friends" }: Pulling = {}, asked = new Asked()) {
    const data = number === 1 ? encode(payload) : new Uint8Array(0);
    this.api.series.onRequest(scope, "x", sender, encodePull({ series, number, payload: data }), asked);
    return asked;
  }

  stop(series: number = 1, sender: SignId = ALICE): void {
    this.api.series.onEvent("friends", "x", sender, encodeStop(series));
  }
}

/** A handler that yields numbers, at each of which it waits for a token; how it ended is known. */
class Counting {
  yielded = 0;
  closed = 0;
  private waiting: (() => void)[] = [];

  constructor(private tokens: number = Infinity) {}

  readonly handler = async function* (this: Counting, _: string, __: string, payload: unknown) {
    try {
      for (let number = 0; number < (payload as number); number++) {
        if (!this.tokens) await new Promise<void>((go) => this.waiting.push(go));
        this.tokens--;
        this.yielded++;
        yield number;
      }
    } finally {
      this.closed++;
    }
  }.bind(this);

  release(): void {
    this.tokens++;
    for (const go of this.waiting.splice(0)) go();
  }
}

/** Sets the clock that series go by. */
function clock(t: TestContext): (now: number) => void {
  const start = Math.ceil(performance.now()); // differences are exact
  let passed = 0;
  const mocked = mock.method(performance, "now", () => start + passed);
  t.after(() => mocked.mock.restore());
  return (now) => {
    passed = now;
  };
}

async function turns(count: number = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

test("all that is yielded in one turn is one batch", async (t) => {
  const served = new Served(t);
  served.api.on("friends.x", new Counting().handler);
  assert.deepEqual(await served.pull(1, { payload: 3 }).done(), [[0, 1, 2], true]);
});

test("a reply leaves as soon as it is yielded, and pulls that overtake each other are answered in order", async (t) => {
  const served = new Served(t);
  const counting = new Counting(1);
  served.api.on("friends.x", counting.handler);
  assert.deepEqual(await served.pull(1, { payload: 3 }).done(), [[0], false]);
  const [third, second] = [served.pull(3), served.pull(2)];
  counting.release();
  assert.deepEqual(await second.done(), [[1], false]);
  assert.equal(third.answer, undefined);
  counting.release();
  assert.deepEqual([await third.done(), counting.closed], [[[2], true], 1]);
});

test("a generator runs no further than a batch ahead", async (t) => {
  const served = new Served(t);
  const counting = new Counting();
  served.api.on("friends.x", counting.handler);
  const [replies, ended] = (await served.pull(1, { payload: 1e9 }).done()) as [number[], boolean];
  assert.equal(ended, false);
  await turns(50);
  assert.ok(counting.yielded <= replies.length + MOST + 1);
  const [more] = (await served.pull(2).done()) as [number[], boolean];
  assert.equal(more[0], replies.length);
});

test("large replies fill a batch by their bytes", async (t) => {
  const served = new Served(t);
  served.api.on("friends.x", async function* () {
    for (const size of [10, SIZE, 3 * SIZE]) yield new Uint8Array(size);
  });
  const sizes: unknown[] = [];
  for (const number of [1, 2, 3]) {
    const [replies] = (await served.pull(number).done()) as [Uint8Array[], boolean];
    sizes.push(replies.map(({ length }) => length));
  }
  assert.deepEqual(sizes, [[10], [SIZE], [3 * SIZE]]);
});

test("a handler that is no generator gives the only reply, and one that returns one gives its replies", async (t) => {
  const served = new Served(t);
  const counting = new Counting();
  served.api.once("friends.x", (_, __, payload) => (payload as number) + 1);
  assert.deepEqual(await served.pull(1, { payload: 1 }).done(), [[2], true]);
  served.api.once("friends.x", async () => undefined);
  assert.deepEqual(await served.pull(1, { series: 2 }).done(), [[null], true]);
  served.api.once("friends.x", () => () => {});
  assert.match(String(await served.pull(1, { series: 3 }).done()), /cannot encode/);
  served.api.once("friends.x", async (name, sender, payload) => counting.handler(name, sender, payload));
  assert.deepEqual(await served.pull(1, { payload: 2, series: 4 }).done(), [[0, 1], true]);
  assert.equal(await served.pull(1, { series: 5 }).done(), "nobody");
});

test("what it throws comes behind its replies and is reported, also what cannot be sent", async (t) => {
  const served = new Served(t);
  served.api.on("friends.x", async function* (_, __, payload) {
    yield 1;
    if (payload) throw new TypeError("oops");
    yield () => {};
  });
  assert.deepEqual(await served.pull(1, { payload: true }).done(), [[1], false]);
  assert.equal(await served.pull(2).done(), "oops");
  assert.deepEqual(served.errors, ["friends.x oops"]);
  assert.match(String(await served.pull(3).done()), /^unknown-series/);
  assert.deepEqual(await served.pull(1, { series: 2 }).done(), [[1], false]);
  assert.match(String(await served.pull(2, { series: 2 }).done()), /cannot encode/);
});

test("a message or a request to it is refused, and nothing of it runs", async (t) => {
  const served = new Served(t);
  const counting = new Counting();
  served.api.on("friends.x", counting.handler);
  const ends: string[] = [];
  served.api.onMessage("friends", "x", "bob", encode(3), ({ error }) => ends.push(error!.message));
  const asked = new Asked();
  served.api.onRequest("friends", "x", "bob", encode(3), asked);
  assert.match(ends[0]!, /requestMany/);
  assert.match(String(await asked.done()), /requestMany/);
  assert.equal(counting.yielded, 0);
});

test("who reads no more has the generator closed, also one that waits, by its signal", async (t) => {
  const served = new Served(t);
  const counting = new Counting(1);
  let told = 0;
  served.api.on("friends.x", counting.handler);
  served.api.on("friends.x", (_, __, ___, signal) => {
    signal?.addEventListener("abort", () => told++);
  });
  await served.pull(1, { payload: 9 }).done();
  const waits = served.pull(3);
  served.stop(1, EVE);
  served.stop(2);
  assert.equal(told, 0, "each peer has series of its own");
  served.stop();
  assert.equal(told, 1);
  assert.deepEqual(await waits.done(), [[], true]);
  counting.release();
  await turns();
  assert.equal(counting.closed, 1);
  assert.match(String(await served.pull(2).done()), /^unknown-series/);
  assert.deepEqual(served.errors, []);
});

test("a generator that ends by its signal has not failed", async (t) => {
  const served = new Served(t);
  served.api.on("friends.x", async function* (_, __, ___, signal) {
    yield 1;
    await new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason as Error)));
  });
  await served.pull(1).done();
  served.stop();
  await turns();
  assert.deepEqual(served.errors, []);
});

test("a series that nobody pulls is closed, one that is kept is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [served, set, counting] = [new Served(t), clock(t), new Counting(1)];
  served.api.on("friends.x", counting.handler);
  await served.pull(1, { payload: 9 }).done();
  set(LEASE - 1);
  assert.deepEqual(await served.pull(KEEP).done(), [[], false]);
  set(LEASE);
  t.mock.timers.tick(5000);
  const second = served.pull(2);
  assert.equal(second.answer, undefined);
  set(LEASE + ANSWERED);
  t.mock.timers.tick(5000);
  assert.deepEqual(second.answer, [[], false], "a pull that waits for long is answered with nothing");
  set(2 * LEASE + ANSWERED);
  t.mock.timers.tick(5000);
  assert.match(String(await served.pull(3).done()), /^unknown-series/);
  counting.release();
  await turns();
  assert.equal(counting.closed, 1);
});

test("the word of a reader looks at all series, where timers sleep", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [served, set] = [new Served(t), clock(t)];
  served.api.on("friends.x", new Counting(1).handler);
  await served.pull(1, { payload: 9 }).done();
  const pull = served.pull(1, { payload: 9, series: 2 });
  set(ANSWERED);
  await served.pull(KEEP).done();
  assert.deepEqual(pull.answer, [[], false]);
});

test("the series of who waits no longer is closed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const served = new Served(t);
  served.api.on("friends.x", new Counting(1).handler);
  await served.pull(1, { payload: 9 }).done();
  served.pull(2).isWanted = false;
  t.mock.timers.tick(5000);
  assert.match(String(await served.pull(3).done()), /^unknown-series/);
});

test("pulls out of bounds are refused", async (t) => {
  const served = new Served(t);
  served.api.on("friends.x", new Counting(1).handler);
  await served.pull(1, { payload: 9 }).done();
  assert.equal(await served.pull(1).done(), "bad-payload");
  assert.equal(await served.pull(2 + EARLY).done(), "bad-payload");
  served.pull(2);
  assert.equal(await served.pull(2).done(), "bad-payload");
  assert.match(String(await served.pull(2, { sender: EVE }).done()), /^unknown-series/);
  assert.match(String(await served.pull(2, { scope: "public" }).done()), /^unknown-series/, "another scope by now");
  const malformed = new Asked();
  served.api.series.onRequest("friends", "x", ALICE, Uint8Array.of(0xc1), malformed);
  assert.equal(malformed.answer, "bad-payload");
});

test("a stranger has few series, and who has most gives way to others of its network", async (t) => {
  const served = new Served(t);
  served.api.on("public.x", new Counting(0).handler);
  const public_ = { scope: "public", payload: 9 } as const;
  const eves: Asked[] = [];
  for (let series = 0; series < OF_STRANGER; series++) eves.push(served.pull(1, { ...public_, series, sender: EVE }));
  assert.match(String(served.pull(1, { ...public_, series: 99, sender: EVE }).answer), /^too-many-series/);
  const others = Array.from({ length: OF_NETWORK - OF_STRANGER + 1 }, (_, number) =>
    served.pull(1, { ...public_, sender: `trudy ${number}` as SignId }),
  );
  assert.match(String(eves[0]!.answer), /^overloaded/);
  assert.ok([...eves.slice(1), ...others].every(({ answer }) => answer === undefined));
});

test("a series has its place until its generator is closed and its replies are read", async (t) => {
  const served = new Served(t);
  let left: () => void = () => {};
  served.api.on("public.x", async function* (_, __, slow) {
    yield 1;
    if (slow)
      await new Promise<void>((go) => {
        left = go;
      });
  });
  const eve = { sender: EVE, scope: "public" } as const;
  for (let series = 0; series < OF_STRANGER; series++) served.pull(1, { ...eve, series, payload: true });
  await turns();
  for (let series = 1; series < OF_STRANGER; series++) {
    served.api.series.onEvent("public", "x", EVE, encodeStop(series));
  }
  assert.match(String(await served.pull(1, { ...eve, series: 99 }).done()), /^too-many-series/, "none is closed");
  left();
  await turns();
  const again = served.pull(1, { ...eve, series: 99 });
  assert.deepEqual(await again.done(), [[1], true]);
});

test("what was yielded and nobody reads has a place, although its generator is done", async (t) => {
  const served = new Served(t);
  served.api.on("public.x", async function* () {
    yield new Uint8Array(SIZE);
    yield 2;
  });
  const eve = { sender: EVE, scope: "public" } as const;
  for (let series = 0; series < OF_STRANGER; series++) await served.pull(1, { ...eve, series }).done();
  await turns();
  assert.match(String(served.pull(1, { ...eve, series: 99 }).answer), /^too-many-series/);
  assert.deepEqual(await served.pull(2, { ...eve, series: 0 }).done(), [[2], true]);
  assert.notEqual(typeof (await served.pull(1, { ...eve, series: 99 }).done()), "string");
});

test("generators that never pause share the loop, a batch a turn", async (t) => {
  const served = new Served(t);
  const counting = new Counting();
  served.api.on("friends.x", counting.handler);
  for (let series = 0; series < 8; series++)
    for (let number = 1; number < 1 + EARLY; number++) served.pull(number, { payload: 1e9, series });
  let [most, before] = [0, 0];
  for (let turn = 0; turn < 400; turn++) {
    await nextTurn();
    most = Math.max(most, counting.yielded - before);
    before = counting.yielded;
  }
  assert.ok(before > 8 * MOST, "all of them go on");
  assert.ok(most <= 3 * MOST, `${most} in a turn`);
});

test("what waits to be read has a bound of bytes, beyond which a series that nobody pulls ends", async (t) => {
  const served = new Served(t);
  const large = new Uint8Array(HELD_OF_PEER / 4);
  served.api.on("friends.x", async function* () {
    for (;;) yield large;
  });
  const pulls: Asked[] = [];
  for (let series = 0; series < 4; series++) pulls.push(served.pull(1, { series }));
  for (const pull of pulls) assert.notEqual(typeof (await pull.done()), "string");
  await turns(40);
  assert.equal(served.errors.length, 1, "what each holds is above a quarter, with its head");
  assert.match(served.errors[0]!, /overloaded/);
});

test("who does not read has no pull answered until it does", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const served = new Served(t);
  served.api.on("friends.x", new Counting().handler);
  const pull = new Asked();
  pull.isClogged = true;
  served.pull(1, { payload: 3 }, pull);
  await turns();
  t.mock.timers.tick(100);
  assert.equal(pull.answer, undefined);
  pull.isClogged = false;
  t.mock.timers.tick(100);
  assert.deepEqual(pull.answer, [[0, 1, 2], true]);
});

test("a reply to a stranger has a bound", async (t) => {
  const served = new Served(t);
  served.api.on("*.x", async function* () {
    yield new Uint8Array(PUBLIC_SIZE + 1);
    yield 1;
  });
  assert.match(String(await served.pull(1, { scope: "public" }).done()), /at most/);
  assert.notEqual(typeof (await served.pull(1, { series: 2 }).done()), "string");
});

test("who moves to another scope has its series ended", async (t) => {
  const served = new Served(t);
  served.api.on("*.x", new Counting(0).handler);
  const friends = served.pull(1, { payload: 9 });
  const public_ = served.pull(1, { payload: 9, series: 2, scope: "public" });
  served.api.series.moved((peer) => (peer === ALICE ? "public" : "friends"));
  assert.match(String(friends.answer), /something else/);
  assert.equal(public_.answer, undefined);
});

test("the end of a node closes generators and says so", async (t) => {
  const served = new Served(t);
  const counting = new Counting(1);
  served.api.on("friends.x", counting.handler);
  await served.pull(1, { payload: 9 }).done();
  const waiting = served.pull(2);
  served.api.close();
  assert.match(String(waiting.answer), /^stopping/);
  assert.match(String(served.pull(1, { series: 2 }).answer), /^stopping/);
  counting.release();
  await turns();
  assert.equal(counting.closed, 1);
});

test("what is durable is refused, and what is malformed does nothing", (t) => {
  const served = new Served(t);
  let ended: Error | undefined;
  served.api.series.onMessage("friends", "x", ALICE, new Uint8Array(0), ({ error }) => {
    ended = error;
  });
  assert.ok(ended instanceof Refused);
  for (const value of [[], [1, 2], ["x"], null]) served.api.series.onEvent("friends", "x", ALICE, encode(value));
  served.api.series.onEvent("friends", "x", ALICE, Uint8Array.of(0xc1));
});
