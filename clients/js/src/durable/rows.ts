/**
 * The rows of the outbox: keys and values.
 *
 *     outbox/<peer>/<lane>/<run>/<first>   [epoch, [record]]
 */

import { Reader, Writer } from "../codec.js";
import { type Record, readRecord, writeList, writeRecord } from "../delivery/wire.js";

export const PREFIX = "outbox/";

/** The key of the messages from number `first` on; keys sort as the messages do. */
export function rowKey(peer: string, lane: number, run: number, first: number): string {
  return `${PREFIX}${peer}/${lane}/${String(run).padStart(10, "0")}/${String(first).padStart(16, "0")}`;
}

/** A signId may hold slashes itself; it has 44 characters. */
export function parseRowKey(key: string): { peer: string; lane: number } {
  return { peer: key.slice(7, 51), lane: Number(key.slice(52, 53)) };
}

export function encodeRow(epoch: number, records: Record[]): Uint8Array {
  const writer = new Writer();
  writer.array(2);
  writer.uint(epoch);
  writeList(writer, records, writeRecord);
  return writer.done();
}

/** Throws CodecError. */
export function decodeRow(value: Uint8Array): { epoch: number; records: Record[] } {
  const reader = new Reader(value);
  reader.array();
  const epoch = reader.uint();
  return { epoch, records: reader.list(() => readRecord(reader)) };
}
