/** Addresses of relays. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { parseRelay } from "../../../../src/transports/relay/protocol/address.js";

test("addresses have one form", () => {
  const key = "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q";
  const relay = parseRelay(`relay+ws://Relay.example:80/a//${key}`);
  assert.equal(relay.url, "ws://relay.example:80/a/");
  assert.equal(relay.text, `relay+ws://relay.example:80/a/${key}`);
  for (const wrong of [
    "",
    `ws://host/${key}`,
    `relay+wss:///${key}`,
    `relay+wss://host/${key}?a`,
    `relay+wss://u@host/${key}`,
    "relay+wss://host/key",
  ]) {
    assert.throws(() => parseRelay(wrong));
  }
});
