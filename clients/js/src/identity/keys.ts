/**
 * Keys: one Ed25519 pair names a node and signs for it, its X25519 image receives (docs/protocol/identity.rst).
 * Everything signed or hashed carries a label, so nothing signed for one purpose serves another.
 */

import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { blake2b } from "@noble/hashes/blake2.js";
import { sha512 } from "@noble/hashes/sha2.js";

import { base64, bigEndian, concat, equal, fromBase64, type Random, random, utf8 } from "../bytes.js";
import { BadSignature, IdentityError, InvalidKey } from "../errors.js";

declare const kind: unique symbol;
export type SignId = string & { readonly [kind]: "signId" };
export type BoxId = string & { readonly [kind]: "boxId" };

export const KEY_SIZE = 32;
export const SIGNATURE_SIZE = 64;
const REMEMBERED = 4096;

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;

/** The secret half of a node. */
export class Identity {
  readonly signKey: Uint8Array;
  readonly signId: SignId;
  readonly boxKey: Uint8Array;
  readonly boxId: BoxId;
  readonly boxSecret: Uint8Array;
  readonly #seed: Uint8Array;

  constructor(seed: Uint8Array) {
    if (seed.length !== KEY_SIZE) throw new IdentityError(`a seed has ${KEY_SIZE} bytes, not ${seed.length}`);
    this.#seed = seed.slice();
    this.signKey = ed25519.getPublicKey(seed);
    this.signId = signIdOf(this.signKey);
    this.boxSecret = ed25519.utils.toMontgomerySecret(seed);
    this.boxId = boxIdOf(this.signId);
    this.boxKey = rawKey(this.boxId);
  }

  static generate(draw: Random = random): Identity {
    return new Identity(draw(KEY_SIZE));
  }

  /** From the 64-byte secret form: the seed, then the public key. */
  static fromSecret(secret: Uint8Array): Identity {
    if (secret.length !== 64) throw new IdentityError(`an Ed25519 secret key has 64 bytes, not ${secret.length}`);
    const identity = new Identity(secret.subarray(0, KEY_SIZE));
    if (!equal(identity.signKey, secret.subarray(KEY_SIZE))) {
      throw new IdentityError("the two halves of the secret key do not belong together");
    }
    return identity;
  }

  /** The 64-byte secret form, to be kept where nobody else reads. */
  secret(): Uint8Array {
    return concat(this.#seed, this.signKey);
  }

  sign(label: string, ...parts: Uint8Array[]): Uint8Array {
    return ed25519.sign(labelled(label, ...parts), this.#seed);
  }
}

/** The label and each part, every one behind its length in 4 bytes: two different lists never look alike. */
export function labelled(label: string, ...parts: Uint8Array[]): Uint8Array {
  return concat(...[utf8(label), ...parts].flatMap((part) => [bigEndian(part.length, 4), part]));
}

/** `H` of the specification: BLAKE2b-256 over the labelled parts. */
export function digest(label: string, ...parts: Uint8Array[]): Uint8Array {
  return blake2b(labelled(label, ...parts), { dkLen: 32 });
}

/**
 * Throws BadSignature unless `signKey` made `signature` for this label and these parts. The equation without the
 * cofactor, R compared as bytes: the same answer as libsodium for every input.
 */
export function verify(signKey: Uint8Array, signature: Uint8Array, label: string, ...parts: Uint8Array[]): void {
  if (!verifies(signKey, signature, labelled(label, ...parts)))
    throw new BadSignature(`not made by this key for ${label}`);
}

function verifies(signKey: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
  if (signKey.length !== KEY_SIZE || signature.length !== SIGNATURE_SIZE) return false;
  const commitment = signature.subarray(0, 32);
  const scalar = littleEndian(signature.subarray(32));
  if (scalar >= ORDER) return false;
  try {
    const key = pointOf(signKey);
    if (Point.fromBytes(commitment).isSmallOrder()) return false;
    const challenge = littleEndian(sha512(concat(commitment, signKey, message))) % ORDER;
    const expected = Point.BASE.multiplyUnsafe(scalar).subtract(key.multiplyUnsafe(challenge));
    return equal(expected.toBytes(), commitment);
  } catch {
    return false;
  }
}

/** `text` as a signId: canonical base64 of 32 bytes that are a sound Ed25519 public key, or InvalidKey. */
export function parseSignId(text: string): SignId {
  boxIdOf(text as SignId);
  return text as SignId;
}

/** The 32 bytes of a signId or boxId. */
export function rawKey(key: SignId | BoxId): Uint8Array {
  const raw = typeof key === "string" && key.length === 44 ? fromBase64(key) : undefined;
  if (raw?.length !== KEY_SIZE) throw new InvalidKey("a key is 44 characters of standard base64, canonical");
  return raw;
}

export function signIdOf(signKey: Uint8Array): SignId {
  if (signKey.length !== KEY_SIZE) throw new InvalidKey(`a key has ${KEY_SIZE} bytes, not ${signKey.length}`);
  return base64(signKey) as SignId;
}

const images = new Map<SignId, BoxId>();

/** The X25519 image; InvalidKey when the bytes are no point, not canonical, or of low or mixed order. */
export function boxIdOf(signId: SignId): BoxId {
  const known = images.get(signId);
  if (known !== undefined) return known;
  const raw = rawKey(signId);
  pointOf(raw);
  const image = base64(ed25519.utils.toMontgomery(raw)) as BoxId;
  if (images.size >= REMEMBERED) images.clear();
  images.set(signId, image);
  return image;
}

/** Whether a box to this raw X25519 key can be made: 32 bytes that are not of low order. */
export function isBoxKey(raw: Uint8Array): boolean {
  try {
    return raw.length === KEY_SIZE && x25519.getSharedSecret(new Uint8Array(KEY_SIZE).fill(1), raw).length === KEY_SIZE;
  } catch {
    return false;
  }
}

const points = new Map<string, InstanceType<typeof Point>>();

function pointOf(signKey: Uint8Array): InstanceType<typeof Point> {
  const name = base64(signKey);
  const known = points.get(name);
  if (known !== undefined) return known;
  const point = decoded(signKey);
  if (point.isSmallOrder() || !point.isTorsionFree()) {
    throw new InvalidKey("not a point of the prime-order group, so nobody holds a secret for it");
  }
  if (points.size >= REMEMBERED) points.clear();
  points.set(name, point);
  return point;
}

function decoded(signKey: Uint8Array): InstanceType<typeof Point> {
  try {
    return Point.fromBytes(signKey);
  } catch {
    throw new InvalidKey("not the canonical form of a point");
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
