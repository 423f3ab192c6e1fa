/** docs/protocol/vectors/webrtc.json: signals. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import { decodeSignal, encodeSignal, type Signal } from "../../../../src/transports/webrtc/protocol/signalling.js";
import { reasonOf, vectors } from "../../../support/vectors.js";

const cases = vectors("webrtc");
const KINDS: Signal["kind"][] = ["offer", "answer", "candidate", "end"];

for (const item of cases.signals) {
  test(`signal: ${item.name}`, () => {
    const signal = decodeSignal(fromHex(item.hex));
    assert.deepEqual(signal, { kind: KINDS[item.kind - 1], attempt: fromHex(item.attempt), body: item.body });
    assert.equal(hex(encodeSignal(signal)), item.hex);
  });
}

for (const item of cases.invalidSignals) {
  test(`no signal: ${item.name}`, () =>
    assert.equal(
      reasonOf(() => decodeSignal(fromHex(item.hex))),
      "bad-signal",
    ));
}
