/** NaCl's boxes: X25519, HSalsa20, XSalsa20-Poly1305 (docs/protocol/session.rst, "Notation"). */

import { hsalsa, xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { x25519 } from "@noble/curves/ed25519.js";

import { utf8 } from "../bytes.js";
import { ProtocolError } from "../errors.js";

export const MAC = 16;
const SIGMA = words(utf8("expand 32-byte k"));
const ZEROS = new Uint32Array(4);

/** DH(P, q): the key of crypto_box_beforenm; throws ProtocolError("bad-key") for a point of low order. */
export function agree(publicKey: Uint8Array, secret: Uint8Array): Uint8Array {
  let shared: Uint8Array;
  try {
    shared = x25519.getSharedSecret(secret, publicKey);
  } catch {
    throw new ProtocolError("bad-key", "a point of low order is no key");
  }
  const key = new Uint32Array(8);
  hsalsa(SIGMA, words(shared), ZEROS, key);
  return new Uint8Array(key.buffer);
}

export function publicKeyOf(secret: Uint8Array): Uint8Array {
  return x25519.getPublicKey(secret);
}

export function seal(plaintext: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  return xsalsa20poly1305(key, nonce).encrypt(plaintext);
}

/** Undefined when it was not sealed with this key and nonce, or was altered. */
export function open(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  if (box.length < MAC) return undefined;
  try {
    return xsalsa20poly1305(key, nonce).decrypt(box);
  } catch {
    return undefined;
  }
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.slice().buffer);
}
