/** docs/protocol/vectors/delivery.json. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex, joined } from "../../src/bytes.js";
import { decode } from "../../src/codec.js";
import { halves } from "../../src/delivery/halving.js";
import { decodeReceipt, type EndOfOne, encodeReceipts } from "../../src/delivery/receipts.js";
import {
  decodeJoined,
  decodePacket,
  decodeResume,
  encodePacket,
  encodeResume,
  FAILED,
  type Frame,
} from "../../src/delivery/wire.js";
import { CodecError } from "../../src/errors.js";
import { readable, reasonOf, vectors } from "../support/vectors.js";

const cases = vectors("delivery");
const TYPES = ["frame", "part", "ping", "pong", "close", "again"];

/** Objects as the arrays they travel as. */
function fields(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return value;
  return Object.values(value).map(fields);
}

for (const item of cases.packets) {
  test(`packet: ${item.name}`, () => {
    const packet = decodePacket(fromHex(item.hex));
    const [type, ...rest] = fields(packet) as [string, ...unknown[]];
    assert.deepEqual(readable([TYPES.indexOf(type), ...rest]), item.packet);
    assert.equal(hex(encodePacket(packet)), item.hex);
  });
}

for (const item of cases.invalid) {
  test(`no packet: ${item.name}`, () => {
    assert.equal(
      reasonOf(() => decodePacket(fromHex(item.hex))),
      item.reason,
    );
  });
}

for (const item of cases.joined) {
  test(`put together: ${item.name}`, () => {
    const data = joined([fromHex(item.head), new Uint8Array(item.zeros), fromHex(item.tail)]);
    if (item.valid) assert.deepEqual(encodePacket(decodeJoined(data)), data);
    else
      assert.equal(
        reasonOf(() => decodeJoined(data)),
        item.reason,
      );
  });
}

for (const item of cases.values) {
  test(`values: ${item.name}`, () => {
    const data = fromHex(item.hex);
    decode(data, item.values);
    assert.throws(() => decode(data, item.values - 1), CodecError);
  });
}

test("what is put together is read within its limits, whatever it is", () => {
  const [{ head, zeros, tail }] = cases.joined;
  const data = joined([fromHex(head), new Uint8Array(zeros), fromHex(tail)]);
  for (const broken of [
    data.subarray(1),
    data.subarray(0, -1),
    joined([data, new Uint8Array(1)]),
    data.map(() => 0x91),
  ])
    assert.equal(
      reasonOf(() => decodeJoined(broken)),
      "bad-packet",
    );
});

test("a frame is cut in two that say the same, as long as it has several items", () => {
  const payload = new Uint8Array(1);
  const record = (seq: number) => ({ seq, expires: 1, topic: "t", protocol: "ms", payload });
  const pieces = [{ seq: 9, offset: 0, total: 2, data: payload }];
  const frame: Frame = {
    type: "frame",
    now: 5,
    floor: 1,
    acks: [],
    batches: [{ lane: 2, epoch: 1, base: 1, records: [record(1), record(2)], pieces }],
    events: [1, 2, 3].map((n) => ({ topic: `t${n}`, protocol: "ms", payload })),
    requests: [{ id: 1, topic: "t", protocol: "ms", payload }],
    replies: [],
  };
  const parts = [frame];
  for (let place = 0; place < parts.length; ) {
    const cut = halves(parts[place]!);
    if (cut.length) parts.splice(place, 1, ...cut);
    else place++;
  }
  assert.equal(parts.length, 7);
  assert.deepEqual(
    parts.flatMap(({ batches }) => batches).flatMap(({ records, pieces }) => [...records, ...pieces]),
    [record(1), record(2), ...pieces],
  );
  assert.deepEqual(
    parts.flatMap(({ events }) => events),
    frame.events,
  );
  assert.deepEqual(
    halves(frame).map(({ batches, events, requests }) => [batches.length, events.length, requests.length]),
    [
      [1, 0, 0],
      [0, 3, 1],
    ],
  );
});

for (const item of cases.receipts) {
  test(`receipt: ${item.name}`, () => {
    const entries = decodeReceipt(fromHex(item.hex));
    assert.deepEqual(fields(entries), item.entries);
    const ends = entries.flatMap(({ low, high, ...end }) => (high - low < 100 ? spread(low, high, end) : []));
    if (ends.length) assert.equal(encodeReceipts(ends).map(hex).join(), item.hex);
  });
}

function spread(low: number, high: number, end: Omit<EndOfOne, "seq">): EndOfOne[] {
  return Array.from({ length: high - low + 1 }, (_, index) => ({ ...end, seq: low + index }));
}

for (const item of cases.invalidReceipts) {
  test(`no receipt: ${item.name}`, () => {
    assert.throws(() => decodeReceipt(fromHex(item.hex)), CodecError);
  });
}

test("a receipt of more than 1 MiB, and more than one holds", () => {
  assert.throws(() => decodeReceipt(new Uint8Array(1024 * 1024 + 1)), CodecError);
  const end: Omit<EndOfOne, "seq"> = { lane: 2, epoch: 7, end: FAILED, text: "no" };
  const ends = Array.from({ length: 4097 }, (_, index): EndOfOne => ({ ...end, seq: 2 * index }));
  assert.deepEqual(
    encodeReceipts(ends).map((payload) => decodeReceipt(payload).length),
    [4096, 1],
  );
});

test("resume", () => {
  const resume = decodeResume(fromHex(cases.resume.hex));
  assert.deepEqual(readable(fields(resume)), cases.resume.value);
  assert.equal(hex(encodeResume(resume)), cases.resume.hex);
});
