/** The side that asks for replies as they come. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { decode, encode } from "../../../src/codec.js";
import { NoResponders, RequestFailed, RequestTimeout, Unreachable } from "../../../src/errors.js";
import { AHEAD } from "../../../src/messaging/series/protocol/asking.js";
import { decodePull, encodeBatch, KEEP, type Pull } from "../../../src/messaging/series/protocol/wire.js";
import { readSeries, type SeriesUpstream } from "../../../src/messaging/series/series.js";
import { nextTurn } from "../../../src/messaging/series/turns.js";

type Answer = Uint8Array | Error;

const QUESTION = encode("question");
const batch = (...replies: unknown[]): Uint8Array => encodeBatch({ ended: false, replies: replies.map(encode) });
const last = (...replies: unknown[]): Uint8Array => encodeBatch({ ended: true, replies: replies.map(encode) });

/** Answers pulls with what is put in, in their order; keeps what it was asked. */
class OtherSide implements SeriesUpstream {
  readonly pulls: Pull[] = [];
  readonly timeouts: number[] = [];
  readonly stopped: unknown[] = [];
  waiting: { resolve: (reply: Uint8Array) => void; reject: (error: Error) => void }[] = [];
  private readonly answers: Answer[];

  constructor(...answers: Answer[]) {
    this.answers = answers;
  }

  ask(pull: Uint8Array, timeout: number, signal: AbortSignal): Promise<Uint8Array> {
    const decoded = decodePull(pull);
    this.pulls.push(decoded);
    this.timeouts.push(timeout);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
      if (decoded.number === KEEP) return;
      this.waiting.push({ resolve, reject });
      this.goOn();
    });
  }

  async stop(payload: Uint8Array): Promise<void> {
    this.stopped.push(decode(payload));
  }

  say(answer: Answer): void {
    this.answers.push(answer);
    this.goOn();
  }

  read(timeout: number = 10_000): AsyncGenerator<unknown> {
    const replies = readSeries(this, QUESTION, timeout);
    return (async function* () {
      for await (const reply of replies) yield decode(reply);
    })();
  }

  get numbers(): number[] {
    return this.pulls.map(({ number }) => number);
  }

  private goOn(): void {
    while (this.waiting.length && this.answers.length) {
      const [{ resolve, reject }, answer] = [this.waiting.shift()!, this.answers.shift()!];
      if (answer instanceof Error) reject(answer);
      else resolve(answer);
    }
  }
}

for (const timeout of [1_000, 120_000])
  test(`no pull ends before the ${timeout} ms of its reader`, async () => {
    const other = new OtherSide(batch(1));
    const replies = other.read(timeout);
    assert.equal((await replies.next()).value, 1);
    await replies.return(undefined);
    assert.deepEqual(
      other.timeouts.map((each) => each >= timeout),
      Array(1 + AHEAD).fill(true),
    );
  });

async function all(replies: AsyncGenerator<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const reply of replies) found.push(reply);
  return found;
}

test("replies come in order, and two pulls are outstanding while the reader reads", async () => {
  const other = new OtherSide(batch(1, 2));
  const replies = other.read();
  assert.equal((await replies.next()).value, 1);
  assert.deepEqual([other.numbers, other.waiting.length], [[1, 2, 3], AHEAD]);
  assert.deepEqual([other.pulls[0]!.payload, other.pulls[1]!.payload.length], [QUESTION, 0]);
  other.say(batch(3));
  other.say(last());
  assert.deepEqual(await all(replies), [2, 3]);
  assert.deepEqual([other.numbers, other.stopped], [[1, 2, 3, 4], []]);
});

test("a reader that takes its time has no more than two batches waiting", async () => {
  const other = new OtherSide(...Array.from({ length: 100 }, (_, number) => batch(number)));
  const replies = other.read();
  await replies.next();
  await nextTurn();
  assert.equal(other.pulls.length, 1 + AHEAD);
  await replies.return(undefined);
});

test("who leaves the loop tells the other side, and waits for no pull any more", async () => {
  const other = new OtherSide(batch(1));
  for await (const reply of other.read()) {
    assert.equal(reply, 1);
    break;
  }
  assert.deepEqual(other.stopped, [[other.pulls[0]!.series]]);
});

test("names of series are drawn", async () => {
  const names = new Set<number>();
  for (let count = 0; count < 50; count++) {
    const other = new OtherSide(last());
    await all(other.read());
    names.add(other.pulls[0]!.series);
  }
  assert.equal(names.size, 50);
  assert.ok(Math.max(...names) > 2 ** 48);
});

test("an error comes behind the replies before it", async () => {
  const [failed, gone] = [new RequestFailed("oops"), new Unreachable("it has gone")];
  for (const [error, stops] of [
    [failed, 0],
    [gone, 1],
  ] as const) {
    const other = new OtherSide(batch(1), error);
    const replies = other.read();
    assert.equal((await replies.next()).value, 1);
    await assert.rejects(replies.next(), error);
    assert.equal(other.stopped.length, stops, "who has ended it knows");
  }
});

test("what the first answer says is thrown before anything is read", async () => {
  for (const error of [new NoResponders("nobody"), new RequestFailed("no"), new RequestTimeout("late")])
    await assert.rejects(new OtherSide(error).read().next(), error);
});

test("what is no batch is an error that says so", async () => {
  const other = new OtherSide(batch(1), Uint8Array.of(0xc1));
  const replies = other.read();
  await replies.next();
  await assert.rejects(replies.next(), /RequestFailed: the replies cannot be decoded/);
  assert.equal(other.stopped.length, 1);
});

test("empty answers do not count as replies, and come with pauses", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let now = 0;
  const clock = mock.method(performance, "now", () => now);
  t.after(() => clock.mock.restore());
  const other = new OtherSide(batch(1), ...Array.from({ length: 1000 }, () => batch()));
  const replies = other.read(1000);
  await replies.next();
  const late = assert.rejects(replies.next(), /RequestTimeout: no further reply within 1 seconds/);
  for (; now < 1000; now += 10) {
    await nextTurn();
    t.mock.timers.tick(10);
  }
  await late;
  assert.ok(other.pulls.length < 20, `${other.pulls.length} pulls`);
});

test("a reader that takes long over one reply says that it is there, until nobody knows of the series", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const other = new OtherSide(batch(1, 2));
  const replies = other.read();
  await replies.next();
  t.mock.timers.tick(35_000);
  assert.deepEqual(other.numbers, [1, 2, 3, KEEP, KEEP, KEEP]);
  await replies.return(undefined);
  t.mock.timers.tick(35_000);
  assert.equal(other.pulls.length, 6);
});
