/** docs/protocol/vectors/relay.json: signing in. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../../src/bytes.js";
import { Identity, signIdOf } from "../../../../src/identity/keys.js";
import {
  answer,
  type Challenge,
  checkWelcome,
  type SignIn,
  type Welcome,
} from "../../../../src/transports/relay/protocol/signin.js";
import { type Case, reasonOf, vectors } from "../../../support/vectors.js";

const cases = vectors("relay");

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
      assert.equal(
        reasonOf(() => answer(client, asked, signIdOf(fromHex(item.dialled)), fromHex(item.nonce))),
        "wrong-relay",
      );
      return;
    }
    const given: SignIn = {
      type: "signIn",
      key: fromHex(item.key),
      nonce: fromHex(item.nonce),
      signature: fromHex(item.signature),
      role: item.role,
      address: item.address,
    };
    const welcome: Welcome = { type: "welcome", signature: fromHex(item.welcomeSignature), now: 0, limits: [] };
    assert.equal(
      reasonOf(() => checkWelcome(asked, given, welcome)),
      "wrong-relay",
    );
  });
}
