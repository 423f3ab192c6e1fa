/** Every message of docs/protocol/vectors/series.json, both ways, and every invalid one; and bounds. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import { encode } from "../../../../src/codec.js";
import { CodecError } from "../../../../src/errors.js";
import {
  decodeBatch,
  decodePull,
  decodeStop,
  encodeBatch,
  encodePull,
  encodeStop,
  MOST,
  SIZE,
} from "../../../../src/messaging/series/protocol/wire.js";
import { readable, vectors } from "../../../support/vectors.js";

const cases = vectors("series");
const PARSERS = [decodePull, decodeBatch, decodeStop];

for (const item of cases.pulls) {
  test(`pull: ${item.name}`, () => {
    const pull = decodePull(fromHex(item.hex));
    assert.deepEqual(readable([pull.series, pull.number, pull.payload]), item.pull);
    assert.equal(hex(encodePull(pull)), item.hex);
  });
}

for (const item of cases.batches) {
  test(`batch: ${item.name}`, () => {
    const batch = decodeBatch(fromHex(item.hex));
    assert.deepEqual(readable([batch.ended, batch.replies]), item.batch);
    assert.equal(hex(encodeBatch(batch)), item.hex);
  });
}

for (const item of cases.stops) {
  test(`stop: ${item.name}`, () => {
    assert.equal(decodeStop(fromHex(item.hex)), item.series);
    assert.equal(hex(encodeStop(item.series)), item.hex);
  });
}

test("invalid ones are refused", () => {
  assert.ok(cases.invalidPulls.length > 5 && cases.invalidBatches.length > 5);
  for (const { name, hex: bytes } of cases.invalidPulls)
    assert.throws(() => decodePull(fromHex(bytes)), CodecError, name);
  for (const { name, hex: bytes } of cases.invalidBatches)
    assert.throws(() => decodeBatch(fromHex(bytes)), CodecError, name);
});

test("what is too short, too long or something else is refused", () => {
  const wrong = [[], ["x"], [1, 2, 3, 4], {}, "text", null, [2 ** 53], [-1], [1.5], [null]].map(encode);
  for (const data of [new Uint8Array(0), Uint8Array.of(0xc1), ...wrong])
    for (const parse of PARSERS) assert.throws(() => parse(data), CodecError, `${parse.name} ${hex(data)}`);
  for (const whole of [encodePull({ series: 1, number: 2, payload: new Uint8Array(3) }), encodeStop(9)]) {
    const parse = whole.length > 2 ? decodePull : decodeStop;
    parse(whole);
    assert.throws(() => parse(whole.subarray(0, -1)), CodecError);
    assert.throws(() => parse(Uint8Array.of(...whole, 0)), CodecError);
  }
});

test("several replies have no more than a batch may have", () => {
  const batch = (...sizes: number[]): Uint8Array =>
    encodeBatch({ ended: false, replies: sizes.map((size) => new Uint8Array(size)) });
  assert.equal(decodeBatch(batch(SIZE - 1, 1)).replies.length, 2);
  assert.equal(decodeBatch(batch(3 * SIZE)).replies.length, 1);
  assert.throws(() => decodeBatch(batch(SIZE, 1)), CodecError);
  assert.equal(decodeBatch(batch(...Array(MOST).fill(1))).replies.length, MOST);
  assert.throws(() => decodeBatch(batch(...Array(MOST + 1).fill(1))), CodecError);
});

test("random bytes are refused or read", () => {
  let state = 1;
  const next = (most: number): number => {
    state = (state * 48271) % 0x7fffffff;
    return state % most;
  };
  for (let round = 0; round < 5000; round++) {
    const data = Uint8Array.from({ length: next(40) }, () => next(256));
    if (data.length && round % 2) data[0] = 0x90 + next(5);
    for (const parse of PARSERS) {
      try {
        parse(data);
      } catch (error) {
        assert.ok(error instanceof CodecError, hex(data));
      }
    }
  }
});
