/** The sending and receiving machines against each other. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Budget } from "../../src/delivery/fragments.js";
import { Receiver } from "../../src/delivery/receiver.js";
import { Sender } from "../../src/delivery/sender.js";
import {
  type Ack,
  type Batch,
  decodePacket,
  EXPIRED,
  encodePacket,
  FAILED,
  KEPT,
  type Packet,
  REFUSED,
  type Record,
} from "../../src/delivery/wire.js";

const LARGEST = 100_000;

function record(seq: number, size: number = 10, expires: number = 1e15): Record {
  return { seq, expires, topic: "t", protocol: "ms", payload: new Uint8Array(size).fill(seq) };
}

/** As it travels. */
function sent(batches: Batch[]): Batch[] {
  const packet = decodePacket(
    encodePacket({ type: "frame", now: 1, floor: 1, acks: [], batches, events: [], requests: [], replies: [] }),
  ) as Extract<Packet, { type: "frame" }>;
  return packet.batches;
}

function handle(receiver: Receiver, batches: Batch[], log: number[]): Ack[] {
  for (const batch of sent(batches)) {
    const { stream, ready } = receiver.accept(batch, 1);
    for (const one of ready) {
      if (one.topic) log.push(one.seq);
      stream.finish(one.seq);
    }
  }
  return receiver.checkpoint().map(({ ack }) => ack);
}

test("links that die at random lose, repeat and reorder nothing", () => {
  let seed = 7;
  const random = (): number => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  const sender = new Sender();
  let receiver = new Receiver(new Budget(1 << 28));
  const log: number[] = [];
  const total = 3000;
  let next = 1;
  while (log.at(-1) !== total || !sender.idle) {
    if (next <= total) {
      const upto = Math.min(total, next + Math.floor(random() * 200));
      sender.push(
        2,
        5,
        Array.from({ length: upto - next + 1 }, (_, index) => record(next + index, random() < 0.02 ? 250_000 : 20)),
      );
      next = upto + 1;
    }
    const { batches } = sender.take(65536, LARGEST, 1);
    const dice = random();
    if (dice < 0.1) {
      for (const settled of sender.linkUp(receiver.acks())) assert.equal(settled.lane, 2);
      continue;
    }
    const acks = handle(receiver, batches, log);
    if (dice < 0.2) sender.linkUp([]);
    else for (const ack of [...acks, ...receiver.reminders()]) sender.acknowledge(ack);
    if (dice > 0.97) {
      const kept = receiver.checkpoint();
      assert.equal(kept.length, 0);
      const [stream] = receiver.acks();
      if (stream && !stream.partial.length) {
        const restarted = new Receiver(new Budget(1 << 28));
        const { stream: old } = receiver.accept({ lane: 2, epoch: 5, base: 1, records: [], pieces: [] }, 1);
        restarted.restore(2, 5, old.kept(), 0);
        receiver = restarted;
        sender.linkUp([]);
      }
    }
  }
  assert.deepEqual(
    log,
    Array.from({ length: total }, (_, index) => index + 1),
  );
});

test("what expires becomes a tombstone, a lost receiver starts at the base", () => {
  const sender = new Sender();
  sender.push(1, 9, [record(1), record(2, 10, 5), record(3)]);
  const [expired] = sender.expire(10);
  assert.equal(expired?.outcomes.get(2)?.state, "expired");
  const log: number[] = [];
  const receiver = new Receiver(new Budget(1 << 20));
  const [ack] = handle(receiver, sender.take(1000, LARGEST, 10).batches, log);
  assert.deepEqual(log, [1, 3]);
  assert.deepEqual([...sender.acknowledge(ack!)!.outcomes.keys()], [1, 3]);
  sender.push(1, 9, [record(4)]);
  handle(new Receiver(new Budget(1 << 20)), sender.take(1000, LARGEST, 10).batches, log);
  assert.deepEqual(log, [1, 3, 4]);
});

test("one epoch is sent to its end before the next", () => {
  const sender = new Sender();
  sender.push(2, 8, [record(1), record(2)]);
  sender.push(2, 3, [record(1)]);
  const { batches } = sender.take(1000, LARGEST, 1);
  assert.deepEqual(
    batches.map((batch) => [batch.epoch, batch.records.length]),
    [[8, 2]],
  );
  assert.deepEqual(sender.take(1000, LARGEST, 1).batches, []);
  sender.acknowledge({ lane: 2, epoch: 8, upto: 2, ranges: [], outcomes: [], partial: [] });
  assert.deepEqual(
    sender.take(1000, LARGEST, 1).batches.map((batch) => batch.epoch),
    [3],
  );
});

test("exceptions of ranges are told", () => {
  const sender = new Sender();
  sender.push(2, 8, [record(1), record(2), record(3), record(4)]);
  sender.take(1000, LARGEST, 1);
  const settled = sender.acknowledge({
    lane: 2,
    epoch: 8,
    upto: 1,
    ranges: [[3, 2 ** 52]],
    outcomes: [
      [1, 1, REFUSED, "unhandled"],
      [4, 900, FAILED, "TypeError: no"],
    ],
    partial: [],
  })!;
  const told = [...settled.outcomes].map(([seq, outcome]) => [seq, outcome.state, outcome.reason]);
  assert.deepEqual(told, [
    [1, "refused", "unhandled"],
    [3, "delivered", ""],
    [4, "failed", "TypeError: no"],
  ]);
});

test("what the peer keeps has not ended, and is told with its expiry", () => {
  const sender = new Sender();
  sender.push(2, 8, [record(1, 10, 50), record(2, 10, 90), record(3, 10, 70), record(4), record(5)]);
  sender.take(1000, LARGEST, 1);
  const settled = sender.acknowledge({
    lane: 2,
    epoch: 8,
    upto: 5,
    ranges: [],
    outcomes: [
      [1, 2, KEPT, ""],
      [4, 4, KEPT, ""],
      [5, 5, EXPIRED, ""],
    ],
    partial: [],
  })!;
  assert.deepEqual(settled.kept, [
    { low: 1, high: 2, until: 90 },
    { low: 4, high: 4, until: 1e15 },
  ]);
  assert.deepEqual(
    [...settled.outcomes].map(([seq, { state }]) => [seq, state]),
    [
      [3, "delivered"],
      [5, "expired"],
    ],
  );
  assert.ok(sender.idle);
});

test("what was left with the sender comes again, alone, and ends once", () => {
  const sender = new Sender();
  const receiver = new Receiver(new Budget(1 << 20));
  sender.push(2, 8, [record(1), record(2), record(3)]);
  const [batch] = sent(sender.take(1000, LARGEST, 1).batches);
  const { stream, ready } = receiver.accept(batch!, 1);
  for (const { seq } of ready) seq === 2 ? stream.leave(seq) : stream.finish(seq);
  const [ack] = receiver.checkpoint();
  assert.deepEqual([ack!.ack.upto, ack!.ack.ranges], [1, [[3, 3]]]);
  sender.acknowledge(ack!.ack);
  assert.deepEqual(sender.take(1000, LARGEST, 1).batches, []);
  assert.deepEqual(
    receiver.left().map(({ lane, epoch }) => [lane, epoch]),
    [[2, 8]],
  );
  sender.again(2, 8);
  sender.again(1, 8); // a stream that is not there
  const log: number[] = [];
  const [last] = handle(receiver, sender.take(1000, LARGEST, 1).batches, log);
  assert.deepEqual([log, last!.upto, receiver.left()], [[2], 3, []]);
  sender.acknowledge(last!);
  assert.ok(sender.idle);
});
