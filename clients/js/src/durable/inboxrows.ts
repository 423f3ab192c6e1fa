/**
 * The rows of the inbox. The key of a kept message has all that is needed to count it, so a start reads keys only; keys sort
 * by sender, protocol, topic and number, so a scan finds the messages of a topic in the order in which they came.
 *
 *     held/<peer>/<protocol>/<topic>/<number>/<expires>/<size>     waits for a handler
 *     failed/<peer>/<protocol>/<topic>/<number>/<expires>/<size>   its handlers failed
 *     ended/<peer>/<lane>/<epoch>/<seq>                            an end that its sender is not told yet
 */

import { MAX_INTEGER, Reader, Writer } from "../codec.js";
import type { EndOfOne } from "../delivery/receipts.js";
import { type Ending, LANES, MAX_REASON, OVERHEAD, readEnd } from "../delivery/wire.js";
import { CodecError } from "../errors.js";

export const HELD = "held/";
export const FAILED_ROWS = "failed/";
export const ENDED = "ended/";
const SIGN_ID = 44; // characters
const MAX_ERROR = 1000; // characters of an error that are kept

/** A message that is kept. `told`: its sender knows its end. `error`: what its handlers threw, "" when it waits for them. */
export interface Kept {
  readonly peer: string;
  readonly lane: number;
  readonly epoch: number;
  readonly seq: number;
  readonly topic: string;
  readonly protocol: string;
  readonly payload: Uint8Array;
  /** Unix milliseconds of our clock, as `at`, when it came. */
  readonly expires: number;
  readonly at: number;
  readonly told: boolean;
  readonly error: string;
}

/** Where a kept message is, and what of it is counted. */
export interface KeptKey {
  readonly encoded: string;
  readonly failed: boolean;
  readonly peer: string;
  readonly protocol: string;
  readonly topic: string;
  readonly number: number;
  readonly expires: number;
  readonly size: number;
}

/** Under which it is kept as the `number`-th that came. */
export function keyOf(message: Kept, number: number): KeptKey {
  const { peer, protocol, topic } = message;
  const failed = message.error !== "";
  const expires = Math.min(message.expires, MAX_INTEGER);
  const size = message.payload.length + OVERHEAD;
  const encoded = `${topicPrefix(failed, peer, protocol, topic)}${padded(number)}/${padded(expires)}/${size}`;
  return { encoded, failed, peer, protocol, topic, number, expires, size };
}

/** The start of the keys of all messages of one topic. */
export function topicPrefix(failed: boolean, peer: string, protocol: string, topic: string): string {
  return `${failed ? FAILED_ROWS : HELD}${peer}/${encodeURIComponent(protocol)}/${encodeURIComponent(topic)}/`;
}

/** Undefined for a damaged key. */
export function parseKey(encoded: string): KeptKey | undefined {
  const failed = encoded.startsWith(FAILED_ROWS);
  const start = (failed ? FAILED_ROWS : HELD).length;
  const parts = encoded.slice(start + SIGN_ID + 1).split("/");
  const [number, expires, size] = parts.slice(2).map(Number);
  if (parts.length !== 5 || ![number, expires, size].every((one) => Number.isSafeInteger(one))) return undefined;
  const peer = encoded.slice(start, start + SIGN_ID);
  const [protocol, topic] = parts.slice(0, 2).map(decodeURIComponent);
  return { encoded, failed, peer, protocol: protocol!, topic: topic!, number: number!, expires: expires!, size: size! };
}

/** As one whose handlers failed; its sender is told so. */
export function amongFailed(message: Kept, error: string): Kept {
  return { ...message, error: error.slice(0, MAX_ERROR) || "failed", told: true };
}

export function encodeKept({ lane, epoch, seq, at, told, error, payload }: Kept): Uint8Array {
  const writer = new Writer();
  writer.array(7);
  for (const number of [lane, epoch, seq, at]) writer.uint(number);
  writer.boolean(told);
  writer.string(error);
  writer.binary(payload);
  return writer.done();
}

/** Throws CodecError. */
export function decodeKept({ peer, protocol, topic, expires }: KeptKey, value: Uint8Array): Kept {
  const reader = new Reader(value);
  return reader.struct(7, () => ({
    peer,
    protocol,
    topic,
    expires,
    lane: reader.uint(LANES - 1),
    epoch: reader.uint(),
    seq: reader.uint(),
    at: reader.uint(),
    told: reader.boolean(),
    error: reader.string(),
    payload: reader.binary(),
  }));
}

/** The row that notes how a message ended until its sender is told. */
export function endedRow({ peer, lane, epoch, seq }: Kept, [end, text]: Ending): [string, Uint8Array] {
  const writer = new Writer();
  writer.array(2);
  writer.uint(end);
  writer.string(text);
  return [`${ENDED}${peer}/${lane}/${epoch}/${seq}`, writer.done()];
}

/** Throws CodecError. */
export function parseEnded(key: string, value: Uint8Array): { peer: string; end: EndOfOne } {
  const [lane, epoch, seq] = key
    .slice(ENDED.length + SIGN_ID + 1)
    .split("/")
    .map(Number);
  if (![lane, epoch, seq].every((one) => Number.isSafeInteger(one))) throw new CodecError("the key is damaged");
  const reader = new Reader(value);
  const said = reader.struct(2, () => ({ end: readEnd(reader), text: reader.string(MAX_REASON) }));
  return {
    peer: key.slice(ENDED.length, ENDED.length + SIGN_ID),
    end: { lane: lane!, epoch: epoch!, seq: seq!, ...said },
  };
}

function padded(number: number): string {
  return String(number).padStart(16, "0");
}
