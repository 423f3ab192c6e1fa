/**
 * Receipts: how messages ended that their recipient had kept for a handler to come (docs/protocol/delivery.rst). A receipt
 * is an ordinary durable message back to the sender. It may come twice, and then says nothing new.
 */

import { Reader, Writer } from "../codec.js";
import { CodecError } from "../errors.js";
import { type End, KEPT, LANES, MAX_REASON, readEnd, writeList } from "./wire.js";

export const RECEIPT = "receipt"; // the protocol, and the topic
export const MAX_ENTRIES = 4096;
const MAX_BYTES = 1024 * 1024;

/** Messages `low` to `high` of the recipient of the receipt ended so; the text is for it. */
export interface Entry {
  lane: number;
  epoch: number;
  low: number;
  high: number;
  end: End;
  text: string;
}

/** One message that ended. */
export type EndOfOne = Omit<Entry, "low" | "high"> & { seq: number };

/** The payloads that tell `ends`; neighbours that ended alike share an entry. */
export function encodeReceipts(ends: Iterable<EndOfOne>): Uint8Array[] {
  const entries: Entry[] = [];
  const sorted = [...ends].sort((a, b) => a.lane - b.lane || a.epoch - b.epoch || a.seq - b.seq);
  for (const { seq, ...end } of sorted) {
    const last = entries.at(-1);
    if (last && continues(last, end, seq)) last.high = seq;
    else entries.push({ ...end, low: seq, high: seq });
  }
  const starts = Array.from({ length: Math.ceil(entries.length / MAX_ENTRIES) }, (_, index) => index * MAX_ENTRIES);
  return starts.map((start) => encoded(entries.slice(start, start + MAX_ENTRIES)));
}

/** Throws CodecError. */
export function decodeReceipt(data: Uint8Array): Entry[] {
  if (data.length > MAX_BYTES) throw new CodecError(`a receipt has at most ${MAX_BYTES} bytes`);
  const reader = new Reader(data);
  const entries = reader.list(() => readEntry(reader), MAX_ENTRIES);
  reader.end();
  return entries;
}

function continues(last: Entry, end: Omit<EndOfOne, "seq">, seq: number): boolean {
  const alike = last.lane === end.lane && last.epoch === end.epoch && last.end === end.end && last.text === end.text;
  return alike && last.high === seq - 1;
}

function encoded(entries: Entry[]): Uint8Array {
  const writer = new Writer();
  writeList(writer, entries, (to, { lane, epoch, low, high, end, text }) => {
    to.array(6);
    for (const number of [lane, epoch, low, high, end]) to.uint(number);
    to.string(text);
  });
  return writer.done();
}

function readEntry(reader: Reader): Entry {
  if (reader.array() !== 6) throw new CodecError("an entry has six elements");
  const [lane, epoch, low, high] = [reader.uint(LANES - 1), reader.uint(), reader.uint(), reader.uint()];
  const end = readEnd(reader);
  if (end === KEPT) throw new CodecError("a message that is kept has not ended");
  return { lane, epoch, low, high, end, text: reader.string(MAX_REASON) };
}
