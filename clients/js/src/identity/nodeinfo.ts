/**
 * NodeInfo: a signed, dated record of who a node is and where it is reached (docs/protocol/identity.rst, "NodeInfo").
 * Bytes from anywhere pass `decodeNodeInfo`, so a record in hand is a proven one.
 */

import { bigEndian, compare, EMPTY, equal, utf8 } from "../bytes.js";
import { MAX_INTEGER, Reader, Writer } from "../codec.js";
import { BadSignature, CodecError, InvalidKey, InvalidRecord } from "../errors.js";
import {
  type BoxId,
  boxIdOf,
  type Identity,
  isBoxKey,
  KEY_SIZE,
  rawKey,
  SIGNATURE_SIZE,
  type SignId,
  signIdOf,
  verify,
} from "./keys.js";

export const MAX_RECORD = 8 * 1024;
const LABEL = "mm/1 nodeinfo";
export const MAX_ADDRESSES = 16; // of one record, for all who read one: each of them gets its turn
const MAX_ADDRESS = 256;
const REMEMBERED = 1024;

export interface NodeInfo {
  readonly signId: SignId;
  readonly boxId: BoxId;
  /** A raw X25519 key, or empty: the box key serves. */
  readonly mailKey: Uint8Array;
  readonly addresses: readonly string[];
  readonly seq: number;
  /** Unix seconds. */
  readonly expires: number;
  /** All of it as it travels, signed. */
  readonly record: Uint8Array;
}

interface Fields {
  signKey: Uint8Array;
  boxKey: Uint8Array;
  mailKey: Uint8Array;
  addresses: string[];
  seq: number | bigint;
  expires: number | bigint;
  signature: Uint8Array;
}

/** A record of `identity`, signed. `expires` is in unix seconds. */
export function createNodeInfo(
  identity: Identity,
  addresses: readonly string[],
  seq: number,
  expires: number,
  mailKey: Uint8Array = EMPTY,
): NodeInfo {
  const { signKey, boxKey } = identity;
  const fields: Fields = { signKey, boxKey, mailKey, addresses: [...addresses], seq, expires, signature: EMPTY };
  check(fields);
  fields.signature = identity.sign(LABEL, ...signedParts(fields));
  return toNodeInfo(fields, written(fields));
}

/** The record in `data`, every claim proven; throws InvalidRecord with the reason. `now` is in unix seconds. */
export function decodeNodeInfo(data: Uint8Array, now: number): NodeInfo {
  if (data.length > MAX_RECORD) throw new InvalidRecord("size", `${data.length} bytes, at most ${MAX_RECORD} allowed`);
  const info = proven(data);
  if (info.expires <= now) {
    const [until, here] = [info.expires, now].map((seconds) => new Date(seconds * 1000).toISOString().slice(0, 10));
    throw new InvalidRecord("expired", `it was good until ${until}, and here it is ${here}: if not, set the clock`);
  }
  return info;
}

/** The record that wins: higher seq, then longer valid, then the greater signature, so that everybody keeps the same. */
export function newest(first: NodeInfo, second: NodeInfo): NodeInfo {
  const signature = (info: NodeInfo): Uint8Array => info.record.subarray(-SIGNATURE_SIZE);
  const order =
    first.seq - second.seq || first.expires - second.expires || compare(signature(first), signature(second));
  return order >= 0 ? first : second;
}

/** Whether `value` may stand in a record: a URI of visible ASCII characters. */
export function isAddress(value: string): boolean {
  return value.length <= MAX_ADDRESS && /^[a-z][a-z0-9+.-]*:[!-~]*$/.test(value);
}

const known = new Map<string, NodeInfo>();

/** Everything but the expiry, which time changes; every handshake repeats the same bytes. */
function proven(data: Uint8Array): NodeInfo {
  const name = String.fromCharCode(...data);
  const found = known.get(name);
  if (found !== undefined) return found;
  const fields = read(data);
  checkKeys(fields);
  check(fields);
  try {
    verify(fields.signKey, fields.signature, LABEL, ...signedParts(fields));
  } catch (error) {
    if (error instanceof BadSignature) throw new InvalidRecord("signature", error.message);
    throw error;
  }
  const info = toNodeInfo(fields, data.slice());
  if (known.size >= REMEMBERED) known.clear();
  known.set(name, info);
  return info;
}

function read(data: Uint8Array): Fields {
  try {
    const reader = new Reader(data);
    if (reader.array() !== 7) throw new CodecError("a record has seven fields");
    const fields: Fields = {
      signKey: reader.fixed(KEY_SIZE),
      boxKey: reader.fixed(KEY_SIZE),
      mailKey: reader.binary().slice(),
      addresses: reader.list(() => reader.string()),
      seq: integer(reader.value()),
      expires: integer(reader.value()),
      signature: reader.fixed(SIGNATURE_SIZE),
    };
    reader.end();
    if (!equal(written(fields), data)) throw new CodecError("not the shortest form");
    return fields;
  } catch (error) {
    if (error instanceof CodecError) throw new InvalidRecord("malformed", error.message);
    throw error;
  }
}

/** Beyond 2**53 it is out of range, which is another reason than malformed. */
function integer(value: unknown): number | bigint {
  if (typeof value === "bigint" || Number.isInteger(value)) return value as number | bigint;
  throw new CodecError("a number is expected");
}

function checkKeys(fields: Fields): void {
  try {
    if (!equal(rawKey(boxIdOf(signIdOf(fields.signKey))), fields.boxKey)) {
      throw new InvalidRecord("box-id", "the boxId is not the image of the signId");
    }
  } catch (error) {
    if (error instanceof InvalidKey) throw new InvalidRecord("sign-id", error.message);
    throw error;
  }
}

function check(fields: Fields): void {
  if (fields.mailKey.length && !isBoxKey(fields.mailKey)) {
    throw new InvalidRecord("mail-key", "neither empty nor a usable X25519 key");
  }
  if (fields.addresses.length > MAX_ADDRESSES || !fields.addresses.every(isAddress)) {
    throw new InvalidRecord(
      "addresses",
      `at most ${MAX_ADDRESSES} URIs of at most ${MAX_ADDRESS} visible ASCII characters`,
    );
  }
  for (const name of ["seq", "expires"] as const) {
    const value = fields[name];
    if (value < 0 || value > MAX_INTEGER) throw new InvalidRecord(name, `${value} is not between 0 and 2**53 - 1`);
  }
}

/** Fixed parts first: whatever follows them are the addresses. */
function signedParts(fields: Fields): Uint8Array[] {
  const { signKey, boxKey, mailKey, addresses, seq, expires } = fields;
  return [signKey, boxKey, mailKey, bigEndian(Number(seq), 8), bigEndian(Number(expires), 8), ...addresses.map(utf8)];
}

function written(fields: Fields): Uint8Array {
  const writer = new Writer();
  writer.array(7);
  writer.binary(fields.signKey);
  writer.binary(fields.boxKey);
  writer.binary(fields.mailKey);
  writer.array(fields.addresses.length);
  for (const address of fields.addresses) writer.string(address);
  writer.bigint(BigInt(fields.seq));
  writer.bigint(BigInt(fields.expires));
  writer.binary(fields.signature);
  return writer.done();
}

function toNodeInfo(fields: Fields, record: Uint8Array): NodeInfo {
  const signId = signIdOf(fields.signKey);
  const { mailKey, addresses } = fields;
  return {
    signId,
    boxId: boxIdOf(signId),
    mailKey,
    addresses,
    seq: Number(fields.seq),
    expires: Number(fields.expires),
    record,
  };
}
