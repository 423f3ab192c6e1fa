/** docs/protocol/vectors/relay.json: what a client says and hears; items between relays are not for it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import { Identity, signIdOf } from "../../../../src/identity/keys.js";
import { parseRelay } from "../../../../src/transports/relay/protocol/address.js";
import { decodeItems, encodeItems, type Item } from "../../../../src/transports/relay/protocol/items.js";
import { answer, checkWelcome, type Challenge, type SignIn, type Welcome } from "../../../../src/transports/relay/protocol/signin.js";
import { readable, reasonOf, vectors, type Case } from "../../../support/vectors.js";

const cases = vectors("relay");
const BETWEEN_RELAYS = [18, 19];
const TYPES = [
  "challenge", "signIn", "welcome", "bye", "open", "data", "shut", "pause", "resume", "present", "deposit", "stored",
  "declined", "room", "ended", "noted", "mail", "taken",
];

function fields(item: Item): unknown[] {
  const [type, ...rest] = Object.values(item);
  return [TYPES.indexOf(type as string), ...rest];
}

for (const item of cases.messages) {
  test(`message: ${item.name}`, () => {
    if (item.items.some(([tag]: [number]) => BETWEEN_RELAYS.includes(tag))) {
      assert.equal(reasonOf(() => decodeItems(fromHex(item.hex))), "bad-item");
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
    assert.equal(reasonOf(() => decodeItems(message)), item.reason);
  });
}

function challengeOf(item: Case, relay: Uint8Array): Challenge {
  return { type: "challenge", nonce: fromHex(item.challenge), relay, name: item.relayName };
}

test("a peer signs in", () => {
  const item = cases.signIns.find(({ role }: Case) => role === 0);
  const relay = new Identity(fromHex(item.relaySeed));
  const asked = challengeOf(item, relay.signKey);
  const given = answer(new Identity(fromHex(item.clientSeed)), asked, relay.signId, fromHex(item.nonce));
  assert.equal(hex(given.signature), item.signature);
  checkWelcome(asked, given, { type: "welcome", signature: fromHex(item.welcomeSignature), now: 0, limits: [] });
});

for (const item of cases.invalidSignIns.filter(({ reason }: Case) => reason === "wrong-relay")) {
  test(`no relay: ${item.name}`, () => {
    const relay = fromHex(item.relay);
    const asked = challengeOf(item, relay);
    if (item.dialled) {
      const client = Identity.generate();
      assert.equal(reasonOf(() => answer(client, asked, signIdOf(fromHex(item.dialled)), fromHex(item.nonce))), "wrong-relay");
      return;
    }
    const given: SignIn = {
      type: "signIn", key: fromHex(item.key), nonce: fromHex(item.nonce), signature: fromHex(item.signature),
      role: item.role, address: item.address,
    };
    const welcome: Welcome = { type: "welcome", signature: fromHex(item.welcomeSignature), now: 0, limits: [] };
    assert.equal(reasonOf(() => checkWelcome(asked, given, welcome)), "wrong-relay");
  });
}

test("addresses have one form", () => {
  const key = "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q";
  const relay = parseRelay(`relay+ws://Relay.example:80/a//${key}`);
  assert.equal(relay.url, "ws://relay.example:80/a/");
  assert.equal(relay.text, `relay+ws://relay.example:80/a/${key}`);
  for (const wrong of ["", `ws://host/${key}`, `relay+wss:///${key}`, `relay+wss://host/${key}?a`, `relay+wss://u@host/${key}`, "relay+wss://host/key"]) {
    assert.throws(() => parseRelay(wrong));
  }
});
