/**
 * The bytes of a session's frames: layout, sizes, packing (docs/protocol/session.rst, "Frames"). No keys here.
 *
 *     header     "mm" | version 1 | type 1                                                    4
 *     HELLO      header | C' 32 | nonce 16 | box[header | C' 32 | 120 zeros]                224
 *     COOKIE     header | nonce 16 | box[header | S' 32 | sealed 136]                       208
 *     cookie     nonce 16 | sealed 136                                                      152
 *     INITIATE   header | C' 32 | cookie 152 | box[header | n 2 | NodeInfo n | signature 64 | resume]
 *     READY      header | box[header | n 2 | NodeInfo n | resume]
 *     DATA       box[plaintext]
 */

import { bigEndian, concat, EMPTY, equal, fromBigEndian } from "../bytes.js";
import { ProtocolError } from "../errors.js";
import { KEY_SIZE, SIGNATURE_SIZE } from "../identity/keys.js";
import { MAX_RECORD } from "../identity/nodeinfo.js";
import { MAC } from "./box.js";

const VERSION = 1;
const HEADER = 4;
export const NONCE = 16;
export const COOKIE_SIZE = 152;
export const MAX_RESUME = 64 * 1024;
export const MAX_FRAME = 256 * 1024;
export const MAX_PLAINTEXT = MAX_FRAME - MAC;
const HELLO_ZEROS = 120;

export const HELLO = 1;
export const COOKIE = 2;
export const INITIATE = 3;
export const READY = 4;
export type Type = typeof HELLO | typeof COOKIE | typeof INITIATE | typeof READY;

const INITIATE_FIXED = HEADER + KEY_SIZE + COOKIE_SIZE + MAC + HEADER + 2 + SIGNATURE_SIZE;
const READY_FIXED = HEADER + MAC + HEADER + 2;

/** The shortest and the longest frame of each type. */
const SIZES: Record<Type, [number, number]> = {
  [HELLO]: [224, 224],
  [COOKIE]: [208, 208],
  [INITIATE]: [INITIATE_FIXED, INITIATE_FIXED + MAX_RECORD + MAX_RESUME],
  [READY]: [READY_FIXED, READY_FIXED + MAX_RECORD + MAX_RESUME],
};

/** Who speaks: the content of INITIATE's box, and of READY's, whose signature is empty. */
export interface Introduction {
  record: Uint8Array;
  signature: Uint8Array;
  resume: Uint8Array;
}

export function header(type: Type): Uint8Array {
  return new Uint8Array([0x6d, 0x6d, VERSION, type]);
}

/** The type of a handshake frame; magic and version are checked first. */
export function typeOf(frame: Uint8Array): Type {
  if (frame.length >= 2 && (frame[0] !== 0x6d || frame[1] !== 0x6d)) {
    throw new ProtocolError("wrong-magic", "not a frame of this protocol");
  }
  if (frame.length >= 3 && frame[2] !== VERSION) {
    throw new ProtocolError("wrong-version", `the peer speaks version ${frame[2]}, this side ${VERSION}`);
  }
  if (frame.length < HEADER) throw new ProtocolError("too-short", `${frame.length} bytes are no header`);
  const type = frame[3]!;
  if (type < HELLO || type > READY) throw new ProtocolError("wrong-type", `no frame has type ${type}`);
  return type as Type;
}

export function checkSize(frame: Uint8Array, type: Type): void {
  const [shortest, longest] = SIZES[type];
  if (frame.length < shortest) throw new ProtocolError("too-short", `at least ${shortest} bytes, not ${frame.length}`);
  if (frame.length > longest) throw new ProtocolError("too-long", `at most ${longest} bytes, not ${frame.length}`);
}

export function helloContent(clientShort: Uint8Array): Uint8Array {
  return concat(header(HELLO), clientShort, new Uint8Array(HELLO_ZEROS));
}

export function packHello(clientShort: Uint8Array, nonce: Uint8Array, box: Uint8Array): Uint8Array {
  return concat(header(HELLO), clientShort, nonce, box);
}

export function unpackHello(frame: Uint8Array): { clientShort: Uint8Array; nonce: Uint8Array; box: Uint8Array } {
  return { clientShort: frame.slice(4, 36), nonce: frame.slice(36, 52), box: frame.subarray(52) };
}

export function cookieContent(serverShort: Uint8Array, cookie: Uint8Array): Uint8Array {
  return concat(header(COOKIE), serverShort, cookie.subarray(NONCE));
}

export function packCookie(nonce: Uint8Array, box: Uint8Array): Uint8Array {
  return concat(header(COOKIE), nonce, box);
}

export function unpackCookie(frame: Uint8Array): { nonce: Uint8Array; box: Uint8Array } {
  return { nonce: frame.slice(4, 20), box: frame.subarray(20) };
}

/** S' and the cookie to send back, from COOKIE's opened box and its nonce. */
export function unpackCookieContent(
  content: Uint8Array,
  nonce: Uint8Array,
): { serverShort: Uint8Array; cookie: Uint8Array } {
  checkRepeatedHeader(content, COOKIE);
  return { serverShort: content.slice(4, 36), cookie: concat(nonce, content.subarray(36)) };
}

export function packInitiate(clientShort: Uint8Array, cookie: Uint8Array, box: Uint8Array): Uint8Array {
  return concat(header(INITIATE), clientShort, cookie, box);
}

export function unpackInitiate(frame: Uint8Array): { clientShort: Uint8Array; cookie: Uint8Array; box: Uint8Array } {
  const cookieEnd = 36 + COOKIE_SIZE;
  return { clientShort: frame.slice(4, 36), cookie: frame.slice(36, cookieEnd), box: frame.subarray(cookieEnd) };
}

export function packReady(box: Uint8Array): Uint8Array {
  return concat(header(READY), box);
}

export function unpackReady(frame: Uint8Array): Uint8Array {
  return frame.subarray(HEADER);
}

export function packIntroduction(type: Type, { record, signature, resume }: Introduction): Uint8Array {
  checkLimits(record.length, resume.length);
  return concat(header(type), bigEndian(record.length, 2), record, signature, resume);
}

export function unpackIntroduction(type: Type, content: Uint8Array): Introduction {
  checkRepeatedHeader(content, type);
  const recordEnd = 6 + fromBigEndian(content.subarray(4, 6));
  const resumeStart = recordEnd + (type === INITIATE ? SIGNATURE_SIZE : 0);
  if (content.length < resumeStart)
    throw new ProtocolError("bad-content", "the NodeInfo's length reaches past the end");
  checkLimits(recordEnd - 6, content.length - resumeStart);
  const signature = type === INITIATE ? content.slice(recordEnd, resumeStart) : EMPTY;
  return { record: content.slice(6, recordEnd), signature, resume: content.slice(resumeStart) };
}

function checkRepeatedHeader(content: Uint8Array, type: Type): void {
  if (!equal(content.subarray(0, HEADER), header(type))) {
    throw new ProtocolError("bad-content", "the box does not repeat its header");
  }
}

function checkLimits(record: number, resume: number): void {
  if (record > MAX_RECORD)
    throw new ProtocolError("too-long", `a NodeInfo has at most ${MAX_RECORD} bytes, not ${record}`);
  if (resume > MAX_RESUME)
    throw new ProtocolError("too-long", `a resume state has at most ${MAX_RESUME} bytes, not ${resume}`);
}
