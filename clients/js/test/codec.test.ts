/** Payloads, there and back. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex } from "../src/bytes.js";
import { decode, encode } from "../src/codec.js";
import { CodecError, InvalidPayload } from "../src/errors.js";

test("payloads", () => {
  const values = [
    null,
    true,
    0,
    -1,
    127,
    -128,
    2 ** 32,
    -(2 ** 40),
    2n ** 63n,
    0.5,
    -0,
    "é",
    new Uint8Array([1]),
    [1, [2]],
    { a: { b: null } },
  ];
  for (const value of values) assert.deepEqual(decode(encode(value)), value);
  assert.deepEqual(decode(encode(new Map([[1, 2]]))), new Map([[1, 2]]));
  assert.deepEqual(decode(encode(new Date(1234))), new Date(1234));
  assert.deepEqual(decode(encode({ a: undefined, b: 1 })), { b: 1 });
  for (const value of [() => 1, Symbol("a"), 2n ** 64n, new (class A {})()])
    assert.throws(() => encode(value), InvalidPayload);
  const circle: unknown[] = [];
  circle.push(circle);
  assert.throws(() => encode(circle), InvalidPayload);
  for (const bad of ["", "c1", "a261", "91", "dfffffffff", "0000", "91".repeat(600)])
    assert.throws(() => decode(fromHex(bad)), CodecError, bad);
});
