/** docs/protocol/vectors/relay.json: what a client says and hears; items between relays are not for it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import type { Item } from "../../../../src/transports/relay/protocol/items.js";
import { decodeItems, encodeItems } from "../../../../src/transports/relay/protocol/wire.js";
import { readable, reasonOf, vectors } from "../../../support/vectors.js";

const cases = vectors("relay");
const BETWEEN_RELAYS = [18, 19];
const TYPES = [
  "challenge",
  "signIn",
  "welcome",
  "bye",
  "open",
  "data",
  "closed",
  "pause",
  "resume",
  "present",
  "deposit",
  "stored",
  "declined",
  "roomAgain",
  "ended",
  "noted",
  "mail",
  "taken",
];

function fields(item: Item): unknown[] {
  const [type, ...rest] = Object.values(item);
  return [TYPES.indexOf(type as string), ...rest];
}

for (const item of cases.messages) {
  test(`message: ${item.name}`, () => {
    if (item.items.some(([tag]: [number]) => BETWEEN_RELAYS.includes(tag))) {
      assert.equal(
        reasonOf(() => decodeItems(fromHex(item.hex))),
        "bad-item",
      );
      return;
    }
    const items = decodeItems(fromHex(item.hex));
    assert.deepEqual(readable(items.map(fields)), item.items);
    if (!item.readOnly) assert.equal(hex(encodeItems(items)), item.hex);
  });
}

for (const item of cases.invalidMessages) {
  test(`no message: ${item.name}`, () => {
    const message = new Uint8Array([...fromHex(item.hex), ...new Uint8Array(item.zeros ?? 0)]);
    assert.equal(
      reasonOf(() => decodeItems(message)),
      item.reason,
    );
  });
}
