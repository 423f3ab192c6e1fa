/** docs/protocol/vectors/delivery.json. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../src/bytes.js";
import { decodePacket, decodeResume, encodePacket, encodeResume } from "../../src/delivery/wire.js";
import { readable, reasonOf, vectors } from "../support/vectors.js";

const cases = vectors("delivery");
const TYPES = ["frame", "part", "ping", "pong", "close"];

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

test("resume", () => {
  const resume = decodeResume(fromHex(cases.resume.hex));
  assert.deepEqual(readable(fields(resume)), cases.resume.value);
  assert.equal(hex(encodeResume(resume)), cases.resume.hex);
});
