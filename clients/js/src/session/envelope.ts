/**
 * Sealed mail: bytes for one recipient, to wait where neither side is trusted (docs/protocol/mail.rst, "Envelope").
 *
 *     envelope   "mm" | version 1 | type 16 | E 32 | box(DH(E, M), n)[a 2 | NodeInfo a | signature 64 | b 4 | content b | zeros]
 *     n          the first 24 bytes of H("mm/1 mail nonce", header, E, M, recipient)
 *     signature  the sender's over labelled("mm/1 mail", E, M, recipient, NodeInfo, content)
 */

import { bigEndian, concat, fromBigEndian, type Random } from "../bytes.js";
import { BadSignature, InvalidRecord, ProtocolError } from "../errors.js";
import {
  boxIdOf,
  digest,
  type Identity,
  KEY_SIZE,
  rawKey,
  SIGNATURE_SIZE,
  type SignId,
  verify,
} from "../identity/keys.js";
import { decodeNodeInfo, MAX_RECORD, type NodeInfo } from "../identity/nodeinfo.js";
import * as box from "./box.js";

const HEADER = new Uint8Array([0x6d, 0x6d, 1, 16]);
const LABEL = "mm/1 mail";
const NONCE = 24;
const OUTSIDE = HEADER.length + KEY_SIZE + box.MAC;
const SHORTEST = OUTSIDE + 2 + SIGNATURE_SIZE + 4;
const SMALLEST = 1024; // an envelope of this side is never shorter, so a short text and an acknowledgement look alike
export const MAX_ENVELOPE = 1024 * 1024 + 16 * 1024;
export const MAX_CONTENT = 1024 * 1024;
const MAIL_LIFE = 15 * 24 * 3600; // seconds: the longest that mail may wait, and a day for clocks

/** `current` is false when the sender's record has expired since: it proves who wrote, and no longer where to answer. */
export interface Opened {
  sender: NodeInfo;
  content: Uint8Array;
  current: boolean;
}

/** `mailKey` is that of the recipient's record; when it is empty the boxId serves. `random` is drawn for 32 bytes. */
export function seal(
  identity: Identity,
  record: Uint8Array,
  recipient: SignId,
  mailKey: Uint8Array,
  content: Uint8Array,
  random: Random,
): Uint8Array {
  if (content.length > MAX_CONTENT || record.length > MAX_RECORD) {
    throw new ProtocolError("too-long", `${content.length} bytes of content, at most ${MAX_CONTENT} allowed`);
  }
  const sealedTo = mailKey.length ? mailKey : rawKey(boxIdOf(recipient));
  const secret = random(KEY_SIZE);
  const ephemeral = box.publicKeyOf(secret);
  const to = rawKey(recipient);
  const signature = identity.sign(LABEL, ephemeral, sealedTo, to, record, content);
  const plain = concat(bigEndian(record.length, 2), record, signature, bigEndian(content.length, 4), content);
  const padding = new Uint8Array(padded(OUTSIDE + plain.length) - OUTSIDE - plain.length);
  const sealed = box.seal(concat(plain, padding), nonceOf(ephemeral, sealedTo, to), box.agree(sealedTo, secret));
  return concat(HEADER, ephemeral, sealed);
}

/**
 * What somebody sealed for `identity`, to one of the mail keys with these `secrets` or to its boxId. `now` is in unix
 * seconds. Throws ProtocolError.
 */
export function open(envelope: Uint8Array, identity: Identity, secrets: readonly Uint8Array[], now: number): Opened {
  checkOutside(envelope);
  const { ephemeral, sealedTo, plain } = unseal(envelope, identity, secrets);
  const { record, signature, content } = unpack(plain);
  const sender = senderOf(record, now);
  try {
    verify(rawKey(sender.signId), signature, LABEL, ephemeral, sealedTo, identity.signKey, record, content);
  } catch (error) {
    if (error instanceof BadSignature)
      throw new ProtocolError("bad-signature", `${sender.signId} did not write this to us`);
    throw error;
  }
  return { sender, content, current: sender.expires > now };
}

/** The length of an envelope that needs `size` bytes: PADME's classes; the last one is MAX_ENVELOPE. */
export function padded(size: number): number {
  if (size <= SMALLEST) return SMALLEST;
  const exponent = Math.floor(Math.log2(size));
  const step = 2 ** (exponent - Math.floor(Math.log2(exponent)) - 1);
  return Math.min(Math.ceil(size / step) * step, MAX_ENVELOPE);
}

function checkOutside(envelope: Uint8Array): void {
  if (envelope.length >= 2 && (envelope[0] !== 0x6d || envelope[1] !== 0x6d)) {
    throw new ProtocolError("wrong-magic", "not an envelope of this protocol");
  }
  if (envelope.length >= 3 && envelope[2] !== 1)
    throw new ProtocolError("wrong-version", `sealed by version ${envelope[2]}`);
  if (envelope.length >= 4 && envelope[3] !== 16)
    throw new ProtocolError("wrong-type", `type ${envelope[3]} is no envelope`);
  if (envelope.length < SHORTEST)
    throw new ProtocolError("too-short", `at least ${SHORTEST} bytes, not ${envelope.length}`);
  if (envelope.length > MAX_ENVELOPE)
    throw new ProtocolError("too-long", `at most ${MAX_ENVELOPE} bytes, not ${envelope.length}`);
}

/** Nothing outside names M, so each key is tried: it would tell how old the sender's record is. */
function unseal(envelope: Uint8Array, identity: Identity, secrets: readonly Uint8Array[]) {
  const ephemeral = envelope.slice(HEADER.length, HEADER.length + KEY_SIZE);
  const sealed = envelope.subarray(HEADER.length + KEY_SIZE);
  for (const secret of [...secrets, identity.boxSecret]) {
    const sealedTo = box.publicKeyOf(secret);
    const plain = box.open(sealed, nonceOf(ephemeral, sealedTo, identity.signKey), box.agree(ephemeral, secret));
    if (plain) return { ephemeral, sealedTo, plain };
  }
  throw new ProtocolError("bad-box", "not sealed for this node, sealed to a mail key it has no more, or altered");
}

function unpack(plain: Uint8Array) {
  const recordEnd = 2 + fromBigEndian(plain.subarray(0, 2));
  const start = recordEnd + SIGNATURE_SIZE + 4;
  if (plain.length < start) throw new ProtocolError("bad-content", "the NodeInfo's length reaches past the end");
  const end = start + fromBigEndian(plain.subarray(start - 4, start));
  if (plain.length < end || plain.subarray(end).some((byte) => byte)) {
    throw new ProtocolError("bad-content", "the content's length reaches past the end, or other than zeros follow it");
  }
  if (recordEnd - 2 > MAX_RECORD || end - start > MAX_CONTENT)
    throw new ProtocolError("too-long", "a NodeInfo or a content");
  return {
    record: plain.slice(2, recordEnd),
    signature: plain.slice(recordEnd, start - 4),
    content: plain.slice(start, end),
  };
}

/** It was good when the mail was sealed. */
function senderOf(record: Uint8Array, now: number): NodeInfo {
  try {
    return decodeNodeInfo(record, now - MAIL_LIFE);
  } catch (error) {
    if (error instanceof InvalidRecord) throw new ProtocolError("bad-record", error.message);
    throw error;
  }
}

function nonceOf(ephemeral: Uint8Array, sealedTo: Uint8Array, recipient: Uint8Array): Uint8Array {
  return digest("mm/1 mail nonce", HEADER, ephemeral, sealedTo, recipient).slice(0, NONCE);
}
