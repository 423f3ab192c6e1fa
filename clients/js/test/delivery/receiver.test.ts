/** What the receiving machine refuses. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Budget } from "../../src/delivery/fragments.js";
import { Receiver } from "../../src/delivery/receiver.js";
import { reasonOf } from "../support/vectors.js";

test("a sender that passes its window is refused", () => {
  const receiver = new Receiver(new Budget(1 << 20));
  const record = { seq: 9000, expires: 1e15, topic: "t", protocol: "ms", payload: new Uint8Array(10) };
  const far = { lane: 2, epoch: 1, base: 1, records: [record], pieces: [] };
  assert.equal(
    reasonOf(() => receiver.accept(far, 1)),
    "window",
  );
});

test("a message larger than its sender may send ends refused at its first piece", () => {
  const budget = new Budget(1 << 20);
  const receiver = new Receiver(budget, () => 1000);
  const take = (seqs: number[], ...pieces: [seq: number, offset: number][]): number[] => {
    const { ready } = receiver.accept(
      {
        lane: 2,
        epoch: 1,
        base: 1,
        records: seqs.map((seq) => ({ seq, expires: 1e15, topic: "t", protocol: "ms", payload: new Uint8Array(1) })),
        pieces: pieces.map(([seq, offset]) => ({ seq, offset, total: 70_000, data: new Uint8Array(100) })),
      },
      1,
    );
    return ready.map(({ seq }) => seq);
  };
  assert.deepEqual(take([], [2, 0], [2, 100]), []);
  assert.equal(budget.used, 0);
  assert.deepEqual(take([3]), []);
  const { stream } = receiver.accept({ lane: 2, epoch: 1, base: 1, records: [], pieces: [] }, 1);
  assert.deepEqual(take([1]), [1, 3]);
  for (const seq of [1, 3]) stream.finish(seq);
  assert.deepEqual(stream.ack().outcomes, [[2, 2, 4, "too-large"]]);
  assert.equal(stream.ack().upto, 3);
  assert.deepEqual(take([2, 3, 4]), [4]);
  const tooFar = { seq: 5, offset: 0, total: 2 ** 40, data: new Uint8Array(1) };
  assert.equal(
    reasonOf(() => receiver.accept({ lane: 2, epoch: 1, base: 1, records: [], pieces: [tooFar] }, 1)),
    "too-large",
  );
});
