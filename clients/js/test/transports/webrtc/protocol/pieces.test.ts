/** docs/protocol/vectors/webrtc.json: pieces. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import { Assembly, split } from "../../../../src/transports/webrtc/protocol/pieces.js";
import { vectors } from "../../../support/vectors.js";

const cases = vectors("webrtc");

function assembled(pieces: string[]): string[] {
  const assembly = new Assembly();
  return pieces.flatMap((piece) => {
    const frame = assembly.add(fromHex(piece));
    return frame ? [hex(frame)] : [];
  });
}

for (const item of cases.pieces) {
  test(`pieces: ${item.name}`, () => {
    assert.deepEqual([...split(fromHex(item.frame), item.size)].map(hex), item.pieces);
    assert.deepEqual(assembled(item.pieces), [item.frame]);
  });
}

for (const item of cases.lenientPieces) {
  test(`pieces of another size: ${item.name}`, () => assert.deepEqual(assembled(item.pieces), [item.frame]));
}
