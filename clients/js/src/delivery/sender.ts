/**
 * The sending machine of one peer: sequences, priorities, windows, resending and tombstones (docs/protocol/delivery.rst,
 * "Sequences"). No I/O.
 *
 * A stream is (lane, epoch). Its records wait in order; `take` moves them into flight as far as the window allows; an
 * acknowledgement settles them; a lost link puts what is in flight back in front. A lane sends one epoch to its end
 * before the next begins, so order holds across restarts. What is sent is always contiguous from the base: in place of
 * what was settled above it travel tombstones.
 */

import { EMPTY } from "../bytes.js";
import { CANCELLED, DELIVERED, EXPIRED, type Outcome } from "../message.js";
import { escaped } from "../text.js";
import { Queue } from "./queue.js";
import {
  type Ack,
  type Batch,
  DELIVERED as DELIVERED_END,
  type Ending,
  type Exception,
  encodeRecord,
  FAILED,
  KEPT,
  LANES,
  MAX_LETTER,
  OVERHEAD,
  type Piece,
  type Range,
  REFUSED,
  type Record,
  sizeOf,
  TAKEN,
  toRanges,
  WINDOW,
  WINDOW_BYTES,
} from "./wire.js";

const LEAST = 4 * 1024; // bytes of durable messages a frame may always carry, however much else is queued

/** Numbers that the peer keeps; `until` is when the last of them expires (Unix milliseconds). */
export interface KeptRange {
  low: number;
  high: number;
  until: number;
}

/** What one event settled in one stream: the numbers that ended, and how, and those that the peer keeps. */
export interface Settled {
  lane: number;
  epoch: number;
  base: number;
  outcomes: Map<number, Outcome>;
  kept: KeptRange[];
}

/** The unsettled records of one lane and epoch. */
class Stream {
  readonly waiting = new Queue<Record>();
  readonly flight = new Queue<Record>();
  top: number; // the highest number pushed
  flying = 0; // bytes in flight
  acked = new Set<number>(); // settled above base: by a range, or expired
  blob = EMPTY; // the encoding of the first waiting record while it goes out in pieces
  offset = 0; // of the blob, sent
  confirmed = 0; // of the blob, held by the peer
  mailed = 0; // the highest number that a relay keeps

  constructor(
    readonly epoch: number,
    public base: number, // below it nothing is held
  ) {
    this.top = base - 1;
  }

  get empty(): boolean {
    return !this.waiting.length && !this.flight.length;
  }

  /** The link is gone: all that is not acknowledged waits again, in order. */
  rewind(): void {
    if (this.flight.length) this.waiting.prepend(Array.from(this.flight, (record) => this.buried(record)));
    this.flight.replace([]);
    this.flying = 0;
    this.dropBlob();
  }

  /** Forget how far the first waiting record went out in pieces; a partial acknowledgement can tell again. */
  dropBlob(): void {
    this.blob = EMPTY;
    this.offset = this.confirmed = 0;
  }

  /** Tombstones that nothing unsettled precedes need not travel: the base passes them. */
  skipTombstones(): void {
    if (this.flight.length || !this.waiting.length || this.waiting.first!.topic) return;
    while (this.waiting.length && !this.waiting.first!.topic) this.base = this.waiting.shift()!.seq + 1;
    this.dropBlob();
    this.forgetAcked();
  }

  forgetAcked(): void {
    for (const seq of this.acked) if (seq < this.base) this.acked.delete(seq);
  }

  bury(): void {
    this.waiting.replace(Array.from(this.waiting, (record) => this.buried(record)));
  }

  private buried(record: Record): Record {
    return this.acked.has(record.seq) ? tombstone(record.seq) : record;
  }
}

/** All streams to one peer. */
export class Sender {
  private readonly lanes: Stream[][] = Array.from({ length: LANES }, () => []);
  /** `take` may find something. */
  ready = false;

  /** Nothing waits and nothing is in flight. */
  get idle(): boolean {
    return this.lanes.every((lane) => lane.every((stream) => stream.empty));
  }

  /** Saved records, in order, behind all that was pushed before; numbers left out become tombstones. */
  push(lane: number, epoch: number, records: Iterable<Record>): void {
    this.ready = true;
    const streams = this.lanes[lane]!;
    let stream = streams.at(-1)?.epoch === epoch ? streams.at(-1) : undefined;
    for (const record of records) {
      if (!stream) {
        stream = new Stream(epoch, record.seq);
        streams.push(stream);
      }
      if (record.seq < stream.base) continue;
      while (stream.top + 1 < record.seq) stream.waiting.push(tombstone(++stream.top));
      stream.waiting.push(record);
      stream.top = record.seq;
    }
    stream?.skipTombstones();
  }

  /** A new link: start at the lowest unsettled number. `acks` is what the peer said it has. */
  linkUp(acks: Iterable<Ack>): Settled[] {
    this.linkDown();
    this.ready = true;
    return Array.from(acks, (ack) => this.acknowledge(ack)).filter((settled) => settled !== undefined);
  }

  /** The link is gone: all that is unsettled waits for the next one. */
  linkDown(): void {
    for (const lane of this.lanes) for (const stream of lane) stream.rewind();
  }

  /**
   * Up to about `budget` bytes to send now, by priority; records above `largest` bytes go in pieces. Also what was found
   * to have expired; a tombstone takes its place.
   */
  take(budget: number, largest: number, now: number): { batches: Batch[]; expired: Settled[] } {
    const batches: Batch[] = [];
    const expired: Settled[] = [];
    let left = Math.max(budget, LEAST);
    this.lanes.forEach((lane, number) => {
      while (lane.length > 1 && lane[0]!.empty) lane.shift();
      const stream = lane[0];
      if (left <= 0 || !stream?.waiting.length) return;
      const filled = fill(stream, left, largest, now);
      left = filled.left;
      if (filled.expired.length) expired.push(settle(number, stream, filled.expired, () => EXPIRED));
      const { records, pieces } = filled;
      if (records.length || pieces.length)
        batches.push({ lane: number, epoch: stream.epoch, base: stream.base, records, pieces });
    });
    this.ready = batches.length > 0;
    return { batches, expired };
  }

  /** What the peer confirmed; undefined when it is nothing new. */
  acknowledge(ack: Ack): Settled | undefined {
    const stream = this.stream(ack.lane, ack.epoch);
    if (!stream) return undefined;
    this.ready = true;
    const [seq, held] = ack.partial;
    if (held !== undefined && stream.waiting.first?.seq === seq) confirm(stream, held);
    const expiries = expiriesOf(stream, ack);
    const before = stream.base;
    const seqs: number[] = [];
    const upto = Math.min(ack.upto, stream.top);
    if (upto >= before) settleUpto(stream, upto, seqs);
    settleRanges(stream, ack.ranges, seqs);
    stream.skipTombstones();
    if (!seqs.length && stream.base === before) return undefined;
    const endingOf = endings(ack.outcomes);
    const kept = expiries.size ? seqs.filter((seq) => endingOf(seq)[0] === KEPT) : [];
    const ended = kept.length ? seqs.filter((seq) => endingOf(seq)[0] !== KEPT) : seqs;
    const settled = settle(ack.lane, stream, ended, (seq) => outcomeOf(endingOf(seq)));
    return { ...settled, kept: keptRanges(kept, expiries) };
  }

  /** What is not acknowledged of one stream goes out again: the peer has left some of it with us. */
  again(lane: number, epoch: number): void {
    const stream = this.stream(lane, epoch);
    if (!stream) return;
    stream.rewind();
    this.ready = true;
  }

  /** Whether the record was pushed and is not settled. */
  holds(lane: number, epoch: number, seq: number): boolean {
    const stream = this.stream(lane, epoch);
    return stream !== undefined && stream.base <= seq && seq <= stream.top && !stream.acked.has(seq);
  }

  /** Take back a record that waits and has not gone out, in part or by mail; a tombstone takes its place. Else undefined. */
  cancel(lane: number, epoch: number, seq: number): Settled | undefined {
    const stream = this.stream(lane, epoch);
    const first = stream?.waiting.first;
    if (!stream || !first || seq < first.seq || seq <= stream.mailed || !this.holds(lane, epoch, seq)) return undefined;
    if (seq === first.seq && stream.offset) return undefined;
    if (!Array.from(stream.waiting).some((record) => record.seq === seq && record.topic)) return undefined;
    stream.acked.add(seq);
    stream.bury();
    stream.skipTombstones();
    return settle(lane, stream, [seq], () => CANCELLED);
  }

  /** All that has not ended, the lanes one behind the other, each in order. */
  *unsettled(): Iterable<{ lane: number; epoch: number; record: Record; state: "waiting" | "sent" | "relayed" }> {
    for (const [lane, streams] of this.lanes.entries()) {
      for (const { epoch, flight, waiting, acked, mailed } of streams) {
        for (const record of flight)
          if (record.topic && !acked.has(record.seq)) yield { lane, epoch, record, state: "sent" };
        for (const record of waiting) {
          if (record.topic && !acked.has(record.seq)) {
            yield { lane, epoch, record, state: record.seq <= mailed ? "relayed" : "waiting" };
          }
        }
      }
    }
  }

  /**
   * What waits and is not mailed, up to about `room` bytes, for an envelope; `mailed` is called once a relay keeps it. What
   * does not fit into one waits for a link, and so does what is behind it.
   */
  letter(room: number): { batches: Batch[]; mailed: () => void } {
    const found = this.lanes.flatMap((lane, number) => {
      const stream = lane.find((one) => !one.empty);
      const records: Record[] = [];
      for (const record of stream?.waiting ?? []) {
        if (record.seq <= stream!.mailed) continue;
        room -= sizeOf(record) + record.topic.length * 4;
        if (room < 0 || records.length >= MAX_LETTER || record.seq >= stream!.base + WINDOW) break;
        records.push(record);
      }
      return stream && records.length ? [{ number, stream, records }] : [];
    });
    return {
      batches: found.map(({ number, stream, records }) => ({
        lane: number,
        epoch: stream.epoch,
        base: stream.base,
        records,
        pieces: [],
      })),
      mailed: () => {
        for (const { stream, records } of found) stream.mailed = records.at(-1)!.seq;
      },
    };
  }

  /** Up to where relays keep what waits, of each lane of which they keep anything. */
  mailed(): { lane: number; epoch: number; seq: number }[] {
    const found = this.lanes.flatMap((streams, lane) =>
      streams.map(({ epoch, mailed }) => ({ lane, epoch, seq: mailed })),
    );
    return found.filter(({ seq }) => seq > 0);
  }

  /** Relays keep what waits up to `seq`, as an earlier run has noted; false when nothing of that is here. */
  keptByRelays(lane: number, epoch: number, seq: number): boolean {
    const stream = this.stream(lane, epoch);
    if (!stream || seq < stream.base) return false;
    stream.mailed = Math.max(stream.mailed, seq);
    return true;
  }

  /** What relays were given may be lost: it may be mailed again. */
  forgetMailed(): void {
    for (const lane of this.lanes) for (const stream of lane) stream.mailed = 0;
  }

  /** Turn what waits past its time into tombstones. What is in flight is the peer's to judge. */
  expire(now: number): Settled[] {
    const found: Settled[] = [];
    this.lanes.forEach((lane, number) => {
      for (const stream of lane) {
        const inPieces = stream.offset ? stream.waiting.first?.seq : 0;
        const late = (record: Record): boolean =>
          record.topic !== "" && record.expires <= now && record.seq !== inPieces;
        const gone = Array.from(stream.waiting)
          .filter(late)
          .map((record) => record.seq);
        if (!gone.length) continue;
        for (const seq of gone) stream.acked.add(seq);
        stream.bury();
        stream.skipTombstones();
        found.push(settle(number, stream, gone, () => EXPIRED));
      }
    });
    return found;
  }

  /** No record that waits expires before this (Unix milliseconds). */
  get nextExpiry(): number {
    let earliest = Infinity;
    for (const lane of this.lanes) {
      for (const stream of lane) {
        for (const record of stream.waiting) if (record.topic && record.expires < earliest) earliest = record.expires;
      }
    }
    return earliest;
  }

  private stream(lane: number, epoch: number): Stream | undefined {
    return this.lanes[lane]?.find((stream) => stream.epoch === epoch);
  }
}

interface Filled {
  records: Record[];
  pieces: Piece[];
  expired: number[];
  left: number;
}

function fill(stream: Stream, budget: number, largest: number, now: number): Filled {
  const filled: Filled = { records: [], pieces: [], expired: [], left: budget };
  const { waiting, flight } = stream;
  while (waiting.length && filled.left > 0 && stream.flying < WINDOW_BYTES) {
    let record = waiting.first!;
    if (record.seq >= stream.base + WINDOW) break;
    if (record.topic && record.expires <= now && !stream.offset) {
      filled.expired.push(record.seq);
      stream.acked.add(record.seq);
      record = tombstone(record.seq);
    }
    const size = sizeOf(record);
    if (size > largest) {
      const sent = cut(stream, record, Math.min(filled.left, largest), filled.pieces);
      filled.left -= sent;
      if (!sent) break;
      if (stream.offset < stream.blob.length) continue;
    } else {
      filled.records.push(record);
      filled.left -= size;
    }
    if (stream.blob.length) stream.dropBlob();
    waiting.shift();
    flight.push(record);
    stream.flying += size;
  }
  return filled;
}

/** Add the next piece of a large record; 0 when the window is full. */
function cut(stream: Stream, record: Record, room: number, pieces: Piece[]): number {
  if (!stream.blob.length) stream.blob = encodeRecord(record);
  const open = WINDOW_BYTES - stream.flying - (stream.offset - stream.confirmed);
  const data = stream.blob.subarray(stream.offset, stream.offset + Math.max(0, Math.min(room, open)));
  if (data.length) {
    pieces.push({ seq: record.seq, offset: stream.offset, total: stream.blob.length, data });
    stream.offset += data.length;
  }
  return data.length;
}

function confirm(stream: Stream, held: number): void {
  if (!stream.blob.length) stream.blob = encodeRecord(stream.waiting.first!);
  if (held > stream.confirmed && held < stream.blob.length) {
    stream.confirmed = held;
    stream.offset = Math.max(stream.offset, held);
  }
}

/** Let go of all up to `upto`; `seqs` gets those that no range had settled before. */
function settleUpto(stream: Stream, upto: number, seqs: number[]): void {
  const { flight, waiting } = stream;
  while (flight.length && flight.first!.seq <= upto) {
    const record = flight.shift()!;
    stream.flying -= record.payload.length + OVERHEAD;
    if (!stream.acked.has(record.seq)) seqs.push(record.seq);
  }
  if (waiting.length && waiting.first!.seq <= upto) {
    stream.dropBlob(); // the peer had it from an earlier link, or run of this node
    while (waiting.length && waiting.first!.seq <= upto) {
      const { seq } = waiting.shift()!;
      if (!stream.acked.has(seq)) seqs.push(seq);
    }
  }
  stream.base = upto + 1;
  stream.forgetAcked();
}

/** Only what is held is looked at, however wide the ranges claim to be. */
function settleRanges(stream: Stream, ranges: Range[], seqs: number[]): void {
  if (!ranges.length || stream.empty) return;
  let first = (stream.flight.first ?? stream.waiting.first)!.seq;
  const last = Math.min((stream.waiting.last ?? stream.flight.last)!.seq, stream.base + WINDOW);
  let highest = 0;
  for (const [low, high] of ranges) {
    for (let seq = Math.max(low, first); seq <= Math.min(high, last); seq++) {
      if (stream.acked.has(seq)) continue;
      stream.acked.add(seq);
      seqs.push(seq);
      highest = seq;
    }
    first = Math.max(first, high + 1);
  }
  const waiting = stream.waiting.first;
  if (waiting && waiting.seq <= highest) {
    if (stream.acked.has(waiting.seq)) stream.dropBlob();
    stream.bury();
  }
}

function settle(lane: number, stream: Stream, seqs: number[], how: (seq: number) => Outcome): Settled {
  const outcomes = new Map(seqs.map((seq) => [seq, how(seq)]));
  return { lane, epoch: stream.epoch, base: stream.base, outcomes, kept: [] };
}

/** When the records expire that an acknowledgement may say are kept. */
function expiriesOf({ base, flight, waiting }: Stream, { outcomes }: Ack): Map<number, number> {
  const last = outcomes.reduce((highest, [, high, end]) => (end === KEPT ? Math.max(highest, high) : highest), 0);
  const found = new Map<number, number>();
  if (last < base) return found;
  for (const { seq, expires } of flight) found.set(seq, expires);
  for (const { seq, expires } of waiting) {
    if (seq > last) break;
    found.set(seq, expires);
  }
  return found;
}

function keptRanges(seqs: number[], expiries: Map<number, number>): KeptRange[] {
  return toRanges(seqs).map(([low, high]) => {
    let until = 0;
    for (let seq = low; seq <= high; seq++) until = Math.max(until, expiries.get(seq) ?? 0);
    return { low, high, until };
  });
}

/** How each number ended, by the (disjoint) exceptions, however many and wide they claim to be. */
function endings(found: Exception[]): (seq: number) => Ending {
  const sorted = [...found].sort((a, b) => a[0] - b[0]);
  return (seq) => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]![0] <= seq) low = middle + 1;
      else high = middle;
    }
    const exception = sorted[low - 1];
    return exception && seq <= exception[1] ? [exception[2], exception[3]] : TAKEN;
  };
}

/** How a message ended, as its peer says. */
export function outcomeOf([end, text]: Ending): Outcome {
  if (end === FAILED) return { state: "failed", reason: escaped(text) };
  if (end === REFUSED) return { state: "refused", reason: escaped(text) };
  return end === DELIVERED_END ? DELIVERED : EXPIRED;
}

/** What stands in place of a record that has ended. */
export function tombstone(seq: number): Record {
  return { seq, expires: 0, topic: "", protocol: "", payload: EMPTY };
}
