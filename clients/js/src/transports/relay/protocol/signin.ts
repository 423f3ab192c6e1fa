/** Signing in: a challenge bound to this relay, this connection and this key (docs/protocol/relay.rst). */

import { bigEndian, equal, utf8 } from "../../../bytes.js";
import { BadSignature, ProtocolError } from "../../../errors.js";
import { type Identity, rawKey, type SignId, verify } from "../../../identity/keys.js";
import type { Item } from "./items.js";

export type Challenge = Extract<Item, { type: "challenge" }>;
export type SignIn = Extract<Item, { type: "signIn" }>;
export type Welcome = Extract<Item, { type: "welcome" }>;

/** Throws ProtocolError("wrong-relay") when it is not the relay that was dialled who asks. */
export function answer(identity: Identity, asked: Challenge, relay: SignId, nonce: Uint8Array): SignIn {
  if (!equal(asked.relay, rawKey(relay)))
    throw new ProtocolError("wrong-relay", "another relay answers at this address");
  const key = identity.signKey;
  const [role, address] = [0, ""];
  const signature = identity.sign(
    "mm/1 relay",
    asked.nonce,
    asked.relay,
    utf8(asked.name),
    key,
    nonce,
    bigEndian(role, 8),
    utf8(address),
  );
  return { type: "signIn", key, nonce, signature, role, address };
}

/** Throws ProtocolError("wrong-relay") unless the relay holds the key it named. */
export function checkWelcome(asked: Challenge, given: SignIn, welcome: Welcome): void {
  try {
    verify(
      asked.relay,
      welcome.signature,
      "mm/1 relay welcome",
      given.nonce,
      asked.nonce,
      asked.relay,
      utf8(asked.name),
      given.key,
    );
  } catch (error) {
    if (error instanceof BadSignature) throw new ProtocolError("wrong-relay", error.message);
    throw error;
  }
}
