/**
 * What travels inside a session: frames of messages and acknowledgements (docs/protocol/delivery.rst). Every value is a
 * MessagePack array, every integer is below 2**53, times are Unix milliseconds of the sender's clock.
 */

import { Reader, Writer } from "../codec.js";
import { CodecError, ProtocolError } from "../errors.js";
import { MAX_PAYLOAD, MAX_TOPIC } from "../message.js";

export const LANES = 4;
export const WINDOW = 8192; // messages of one lane that may be unsettled at the receiver
export const WINDOW_BYTES = 4 * 1024 * 1024; // their bytes
export const MAX_HEAD = 64 * 1024; // what the encoding of a record or frame has beyond its one payload, at most
export const MAX_FRAME = MAX_PAYLOAD + MAX_HEAD; // one frame put together from its parts
export const MAX_MIXED = 256 * 1024; // a frame with several items
export const MAX_LETTER = 1024; // records of one batch of a larger frame in mail
export const TOO_LARGE = "too-large"; // why a link is closed, or a message refused
export const MAX_RANGES = 64;
export const MAX_OUTCOMES = 8192;
export const MAX_REASON = 200;
export const OVERHEAD = 64; // what a record with an ordinary topic weighs beyond its payload
const MAX_ACKS = 256;
const MAX_RESUME = 64 * 1024;

/** A numbered message. One without a topic is a tombstone: it was cancelled, expired or never saved. */
export interface Record {
  seq: number;
  expires: number;
  topic: string;
  protocol: string;
  payload: Uint8Array;
}

/** A part of the encoding of one numbered message that is too large for a frame. */
export interface Piece {
  seq: number;
  offset: number;
  total: number;
  data: Uint8Array;
}

/** Messages of one stream. Below `base` the sender holds nothing: all of it is settled. */
export interface Batch {
  lane: number;
  epoch: number;
  base: number;
  records: Record[];
  pieces: Piece[];
}

export type Range = [low: number, high: number];

/** How a message ended. One that is KEPT is on the disk of its recipient; a receipt tells its end later. */
export const DELIVERED = 0;
export const KEPT = 1;
export const EXPIRED = 2;
export const FAILED = 3;
export const REFUSED = 4;
export type End = typeof DELIVERED | typeof KEPT | typeof EXPIRED | typeof FAILED | typeof REFUSED;

/** The text is for the sender. */
export type Ending = readonly [end: End, text: string];
export const TAKEN: Ending = [DELIVERED, ""];
export const UNHEARD: Ending = [REFUSED, "unhandled"];

export type Exception = [low: number, high: number, end: End, text: string];

/** All up to `upto` is done with, and `ranges` above it; `outcomes` names what was not simply delivered. */
export interface Ack {
  lane: number;
  epoch: number;
  upto: number;
  ranges: Range[];
  outcomes: Exception[];
  /** Sequence and bytes held of a message whose pieces are coming in, or empty. */
  partial: number[];
}

/** A realtime message: no number, no state. */
export interface Event {
  topic: string;
  protocol: string;
  payload: Uint8Array;
}

export interface Request {
  id: number;
  topic: string;
  protocol: string;
  payload: Uint8Array;
}

/** The status of a reply; the payload of one that FAILED is its text. */
export const STATUS = { OK: 0, FAILED: 1, NO_RESPONDERS: 2 } as const;

export interface Reply {
  id: number;
  status: number;
  payload: Uint8Array;
}

/** Below `floor` the sender waits for no reply: the peer may forget those it remembers. */
export interface Frame {
  type: "frame";
  now: number;
  floor: number;
  acks: Ack[];
  batches: Batch[];
  events: Event[];
  requests: Request[];
  replies: Reply[];
}

export type Packet =
  | Frame
  /** A slice of the encoding of one frame that is larger than the link takes. */
  | { type: "part"; offset: number; total: number; data: Uint8Array }
  | { type: "ping"; id: number }
  | { type: "pong"; id: number }
  /** The sender closes the link, and why (a reason word of the specification). */
  | { type: "close"; reason: string }
  /** Some of this stream was left with its sender, who is asked to send what is not settled again. */
  | { type: "again"; lane: number; epoch: number };

/** Carried by the handshake: which run of the node this is, its clock, and what it has handled so far. */
export interface Resumption {
  epoch: number;
  now: number;
  acks: Ack[];
}

/** What the record weighs in windows and quotas, in bytes. */
export function sizeOf(record: Record): number {
  return record.payload.length + OVERHEAD;
}

/** The numbers as inclusive ranges, in order. */
export function toRanges(numbers: Iterable<number>): Range[] {
  const ranges: Range[] = [];
  for (const number of Array.from(numbers).sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

// Writing.

export function encodePacket(packet: Packet): Uint8Array {
  const writer = new Writer();
  switch (packet.type) {
    case "frame":
      writeFrame(writer, packet);
      break;
    case "part":
      writer.array(4);
      writer.uint(1);
      writer.uint(packet.offset);
      writer.uint(packet.total);
      writer.binary(packet.data);
      break;
    case "ping":
    case "pong":
      writer.array(2);
      writer.uint(packet.type === "ping" ? 2 : 3);
      writer.uint(packet.id);
      break;
    case "close":
      writer.array(2);
      writer.uint(4);
      writer.string(packet.reason);
      break;
    case "again":
      writer.array(3);
      writer.uint(5);
      writer.uint(packet.lane);
      writer.uint(packet.epoch);
  }
  return writer.done();
}

export function encodeResume(resume: Resumption): Uint8Array {
  const writer = new Writer();
  writer.array(3);
  writer.uint(resume.epoch);
  writer.uint(resume.now);
  writeList(writer, resume.acks, writeAck);
  return writer.done();
}

export function encodeRecord(record: Record): Uint8Array {
  const writer = new Writer();
  writeRecord(writer, record);
  return writer.done();
}

export function writeList<T>(writer: Writer, items: readonly T[], write: (writer: Writer, item: T) => void): void {
  writer.array(items.length);
  for (const item of items) write(writer, item);
}

export function writeRecord(writer: Writer, record: Record): void {
  writer.array(5);
  writer.uint(record.seq);
  writer.uint(record.expires);
  writer.string(record.topic);
  writer.string(record.protocol);
  writer.binary(record.payload);
}

export function writeRange(writer: Writer, range: Range): void {
  writer.array(2);
  writer.uint(range[0]);
  writer.uint(range[1]);
}

export function writeException(writer: Writer, exception: Exception): void {
  writer.array(4);
  writer.uint(exception[0]);
  writer.uint(exception[1]);
  writer.uint(exception[2]);
  writer.string(exception[3]);
}

function writeFrame(writer: Writer, frame: Frame): void {
  writer.array(8);
  writer.uint(0);
  writer.uint(frame.now);
  writer.uint(frame.floor);
  writeList(writer, frame.acks, writeAck);
  writeList(writer, frame.batches, writeBatch);
  writeList(writer, frame.events, writeEvent);
  writeList(writer, frame.requests, writeRequest);
  writeList(writer, frame.replies, writeReply);
}

function writeAck(writer: Writer, ack: Ack): void {
  writer.array(6);
  writer.uint(ack.lane);
  writer.uint(ack.epoch);
  writer.uint(ack.upto);
  writeList(writer, ack.ranges, writeRange);
  writeList(writer, ack.outcomes, writeException);
  writeList(writer, ack.partial, (to, number) => to.uint(number));
}

function writeBatch(writer: Writer, batch: Batch): void {
  writer.array(5);
  writer.uint(batch.lane);
  writer.uint(batch.epoch);
  writer.uint(batch.base);
  writeList(writer, batch.records, writeRecord);
  writeList(writer, batch.pieces, writePiece);
}

function writePiece(writer: Writer, piece: Piece): void {
  writer.array(4);
  writer.uint(piece.seq);
  writer.uint(piece.offset);
  writer.uint(piece.total);
  writer.binary(piece.data);
}

function writeEvent(writer: Writer, event: Event): void {
  writer.array(3);
  writer.string(event.topic);
  writer.string(event.protocol);
  writer.binary(event.payload);
}

function writeRequest(writer: Writer, request: Request): void {
  writer.array(4);
  writer.uint(request.id);
  writer.string(request.topic);
  writer.string(request.protocol);
  writer.binary(request.payload);
}

function writeReply(writer: Writer, reply: Reply): void {
  writer.array(3);
  writer.uint(reply.id);
  writer.uint(reply.status);
  writer.binary(reply.payload);
}

// Reading. What is read shares its memory with what it was read from.

export function decodePacket(data: Uint8Array): Packet {
  return whole(data, MAX_MIXED, (reader) => {
    const fields = reader.array();
    if (fields < 1) throw new CodecError("no type");
    return readPacket(reader, reader.uint(), fields - 1);
  });
}

/** What was put together from parts: above MAX_MIXED it is a frame of one item, and that is checked item by item. */
export function decodeJoined(data: Uint8Array): Packet {
  if (data.length <= MAX_MIXED) return decodePacket(data);
  return whole(data, MAX_FRAME, (reader) => {
    const fields = reader.array();
    if (fields < 8 || reader.uint() !== 0) throw new CodecError("not one large item");
    const frame = readFrame(reader, 1);
    if (itemsOf(frame) !== 1 || frame.batches.length) throw new CodecError("not one large item");
    reader.skip(fields - 8);
    return frame;
  });
}

/** What an envelope holds, which may be one large message. */
export function decodeMail(data: Uint8Array): Packet {
  if (data.length <= MAX_MIXED) return decodePacket(data);
  return whole(data, MAX_FRAME, (reader) => {
    const fields = reader.array();
    if (fields < 8 || reader.uint() !== 0) throw new CodecError("not a frame");
    const frame = {
      ...{ type: "frame" as const, now: reader.uint(), floor: reader.uint() },
      acks: reader.list(() => readAck(reader), MAX_ACKS),
      batches: reader.list(() => readBatch(reader, MAX_LETTER, 0), LANES),
      events: reader.list(() => readEvent(reader), 0),
      requests: reader.list(() => readRequest(reader), 0),
      replies: reader.list(() => readReply(reader), 0),
    };
    reader.skip(fields - 8);
    return frame;
  });
}

function itemsOf({ acks, batches, events, requests, replies }: Frame): number {
  return [acks, batches, events, requests, replies].reduce((sum, items) => sum + items.length, 0);
}

export function decodeResume(data: Uint8Array): Resumption {
  return whole(data, MAX_RESUME, (reader) =>
    reader.struct(3, () => ({
      epoch: reader.uint(),
      now: reader.uint(),
      acks: reader.list(() => readAck(reader), MAX_ACKS),
    })),
  );
}

export function decodeRecord(data: Uint8Array): Record {
  return whole(data, MAX_FRAME, readRecord);
}

export function readRecord(reader: Reader): Record {
  return reader.struct(5, () => ({
    seq: reader.uint(),
    expires: reader.uint(),
    topic: reader.string(MAX_TOPIC),
    protocol: reader.string(MAX_REASON),
    payload: reader.binary(),
  }));
}

export function readRange(reader: Reader): Range {
  if (reader.array() !== 2) throw new CodecError("a range has two numbers");
  return [reader.uint(), reader.uint()];
}

export function readException(reader: Reader): Exception {
  if (reader.array() !== 4) throw new CodecError("an outcome has four elements");
  return [reader.uint(), reader.uint(), readEnd(reader), reader.string(MAX_REASON)];
}

export function readEnd(reader: Reader): End {
  return reader.uint(REFUSED) as End;
}

function whole<T>(data: Uint8Array, most: number, read: (reader: Reader) => T): T {
  try {
    if (data.length > most) throw new CodecError(`${data.length} bytes, at most ${most} allowed`);
    const reader = new Reader(data);
    const value = read(reader);
    reader.end();
    return value;
  } catch (error) {
    if (error instanceof CodecError) throw new ProtocolError("bad-packet", error.message);
    throw error;
  }
}

function readPacket(reader: Reader, type: number, fields: number): Packet {
  const rest = <T>(expected: number, read: () => T): T => {
    if (fields < expected) throw new CodecError(`${fields} elements, at least ${expected} expected`);
    const value = read();
    reader.skip(fields - expected);
    return value;
  };
  switch (type) {
    case 0:
      return rest(7, () => readFrame(reader));
    case 1:
      return rest(3, () => ({ type: "part", offset: reader.uint(), total: reader.uint(), data: reader.binary() }));
    case 2:
      return rest(1, () => ({ type: "ping", id: reader.uint() }));
    case 3:
      return rest(1, () => ({ type: "pong", id: reader.uint() }));
    case 4:
      return rest(1, () => ({ type: "close", reason: reader.string(MAX_REASON) }));
    case 5:
      return rest(2, () => ({ type: "again", lane: reader.uint(LANES - 1), epoch: reader.uint() }));
    default:
      throw new CodecError(`no packet has type ${type}`);
  }
}

/** At most `most` items of each kind, as far as that is less than there may be. */
function readFrame(reader: Reader, most: number = MAX_MIXED): Frame {
  const acks = Math.min(most, MAX_ACKS);
  return {
    type: "frame",
    now: reader.uint(),
    floor: reader.uint(),
    acks: reader.list(() => readAck(reader), acks),
    batches: reader.list(() => readBatch(reader), acks),
    events: reader.list(() => readEvent(reader), most),
    requests: reader.list(() => readRequest(reader), most),
    replies: reader.list(() => readReply(reader), most),
  };
}

function readAck(reader: Reader): Ack {
  return reader.struct(6, () => ({
    lane: reader.uint(LANES - 1),
    epoch: reader.uint(),
    upto: reader.uint(),
    ranges: reader.list(() => readRange(reader), MAX_RANGES),
    outcomes: reader.list(() => readException(reader), MAX_OUTCOMES),
    partial: reader.list(() => reader.uint(), 2),
  }));
}

function readBatch(reader: Reader, records: number = WINDOW, pieces: number = WINDOW): Batch {
  return reader.struct(5, () => ({
    lane: reader.uint(LANES - 1),
    epoch: reader.uint(),
    base: reader.uint(),
    records: reader.list(() => readRecord(reader), records),
    pieces: reader.list(() => readPiece(reader), pieces),
  }));
}

function readPiece(reader: Reader): Piece {
  return reader.struct(4, () => ({
    seq: reader.uint(),
    offset: reader.uint(),
    total: reader.uint(),
    data: reader.binary(),
  }));
}

function readEvent(reader: Reader): Event {
  return reader.struct(3, () => ({
    topic: reader.string(MAX_TOPIC),
    protocol: reader.string(MAX_REASON),
    payload: reader.binary(),
  }));
}

function readRequest(reader: Reader): Request {
  return reader.struct(4, () => ({
    id: reader.uint(),
    topic: reader.string(MAX_TOPIC),
    protocol: reader.string(MAX_REASON),
    payload: reader.binary(),
  }));
}

function readReply(reader: Reader): Reply {
  return reader.struct(3, () => ({ id: reader.uint(), status: reader.uint(), payload: reader.binary() }));
}
