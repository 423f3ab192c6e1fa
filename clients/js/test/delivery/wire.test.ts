/** docs/protocol/vectors/delivery.json. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../src/bytes.js";
import { decodeReceipt, type EndOfOne, encodeReceipts } from "../../src/delivery/receipts.js";
import { decodePacket, decodeResume, encodePacket, encodeResume, FAILED } from "../../src/delivery/wire.js";
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
