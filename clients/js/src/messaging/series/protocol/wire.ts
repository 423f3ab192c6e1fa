/** The messages of a series, pull, batch and stop, as bytes (docs/protocol/series.rst). */

import { Reader, Writer } from "../../../codec.js";
import { CodecError } from "../../../errors.js";

export const MOST = 1024; // replies in a batch
export const SIZE = 64 * 1024; // bytes of them, unless one alone has more
export const HEAD = 32; // bytes of a pull or a batch beside its only payload, at most
export const KEEP = 0; // the number of a pull that says no more than that the asking side is there

/** Asks for batch `number` of a series, the first one with what the handler is asked; KEEP asks for nothing. */
export interface Pull {
  series: number;
  number: number;
  payload: Uint8Array;
}

/** Some replies, and whether they are the last. */
export interface ReplyBatch {
  ended: boolean;
  replies: Uint8Array[];
}

export function encodePull({ series, number, payload }: Pull): Uint8Array {
  const writer = new Writer();
  writer.array(3);
  writer.uint(series);
  writer.uint(number);
  writer.binary(payload);
  return writer.done();
}

/** Throws CodecError. */
export function decodePull(data: Uint8Array): Pull {
  return exactly(data, 3, (reader) => ({ series: reader.uint(), number: reader.uint(), payload: reader.binary() }));
}

export function encodeBatch({ ended, replies }: ReplyBatch): Uint8Array {
  const writer = new Writer();
  writer.array(2);
  writer.boolean(ended);
  writer.array(replies.length);
  for (const reply of replies) writer.binary(reply);
  return writer.done();
}

/** Throws CodecError. */
export function decodeBatch(data: Uint8Array): ReplyBatch {
  const batch = exactly(data, 2, (reader) => ({
    ended: reader.boolean(),
    replies: reader.list(() => reader.binary(), MOST),
  }));
  if (batch.replies.length > 1 && batch.replies.reduce((sum, { length }) => sum + length, 0) > SIZE)
    throw new CodecError(`more than ${SIZE} bytes in a batch of several replies`);
  return batch;
}

export function encodeStop(series: number): Uint8Array {
  const writer = new Writer();
  writer.array(1);
  writer.uint(series);
  return writer.done();
}

/** The series that is not read on. Throws CodecError. */
export function decodeStop(data: Uint8Array): number {
  return exactly(data, 1, (reader) => reader.uint());
}

function exactly<T>(data: Uint8Array, elements: number, read: (reader: Reader) => T): T {
  const reader = new Reader(data);
  const found = reader.array();
  if (found !== elements) throw new CodecError(`${found} elements instead of ${elements}`);
  const value = read(reader);
  reader.end();
  return value;
}
