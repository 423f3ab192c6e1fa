/**
 * The receiving machine of one peer: each message once, in order, acknowledged when handled (docs/protocol/delivery.rst).
 * No I/O.
 *
 * `accept` gives the records to hand to handlers, in order and never twice; `finish` notes that one is handled. What is
 * handled is first made durable (`checkpoint` gives the rows to save), then acknowledged.
 */

import { Reader, Writer } from "../codec.js";
import { ProtocolError } from "../errors.js";
import { MAX_PAYLOAD } from "../message.js";
import { Assembler, type Budget } from "./fragments.js";
import {
  type Ack,
  type Batch,
  decodeRecord,
  type Ending,
  type Exception,
  MAX_FRAME,
  MAX_HEAD,
  MAX_OUTCOMES,
  MAX_RANGES,
  type Piece,
  REFUSED,
  type Record,
  readException,
  readRange,
  sizeOf,
  TAKEN,
  TOO_LARGE,
  toRanges,
  WINDOW,
  WINDOW_BYTES,
  writeException,
  writeList,
  writeRange,
} from "./wire.js";

const MAX_STREAMS = 64; // per peer; each start of its node opens one a lane, old ones are forgotten oldest first
const PARTIAL_EVERY = 1024 * 1024; // bytes of a large message between two reports of its progress

/** What has come in of one lane and epoch. */
export class Stream {
  readonly assembler: Assembler;
  done = 0; // all up to here is handled
  next = 1; // the next number to hand out
  finished = new Set<number>(); // handled, above done
  left = new Set<number>(); // handed out and left with the sender: these may come again
  readonly stash = new Map<number, Record>(); // came before its turn, over another link
  outcomes: Exception[] = [];
  pieceSeq = 0; // whose pieces the assembler holds
  reported = 0; // bytes of it told to the sender
  dirty = false; // handled something that is not saved
  stale = false; // the sender should hear again what is saved
  seen = 0;
  private pendingBytes = 0;

  constructor(
    readonly lane: number,
    readonly epoch: number,
    private readonly budget: Budget,
  ) {
    this.assembler = new Assembler(budget, () => MAX_FRAME);
  }

  /** `seq` is done with, and how it ended. */
  finish(seq: number, ending: Ending = TAKEN): void {
    this.dirty = true;
    if (ending !== TAKEN) this.note(seq, ending);
    if (seq > this.done) this.finished.add(seq);
    this.advance();
  }

  isDone(seq: number): boolean {
    return seq <= this.done || this.finished.has(seq);
  }

  /** End a message whose pieces are not taken; what is now in turn goes into `ready`. Throws ProtocolError. */
  refuse(seq: number, ready: Record[]): void {
    if (seq > this.done + WINDOW) throw tooFar(seq, this.done);
    this.left.delete(seq);
    this.finish(seq, [REFUSED, TOO_LARGE]);
    if (seq === this.next) this.next = this.follow(Math.max(seq, this.done) + 1, ready);
  }

  /** Forget a message that was handed out: its sender keeps it, and it is handed out again when it comes again. */
  leave(seq: number): void {
    this.left.add(seq);
  }

  /** The sender holds nothing below `base`. */
  beginAt(base: number): void {
    if (base > this.done + 1) {
      this.done = base - 1;
      for (const set of [this.finished, this.left]) for (const seq of set) if (seq <= this.done) set.delete(seq);
      this.advance();
      for (const seq of [...this.stash.keys()]) if (seq <= this.done) this.unstash(seq);
      if (this.pieceSeq && this.pieceSeq <= this.done) this.forgetPieces();
      this.next = Math.max(this.next, this.done + 1);
      this.dirty = true;
    }
    if (this.outcomes[0] && this.outcomes[0][1] < base)
      this.outcomes = this.outcomes.filter(([, high]) => high >= base);
  }

  /** Keep what came before its turn. Throws ProtocolError: "window" or "overloaded". */
  putBy(record: Record): void {
    if (record.seq > this.done + WINDOW) throw tooFar(record.seq, this.done);
    if (this.stash.has(record.seq)) return;
    const size = sizeOf(record);
    if (this.pendingBytes + size > 2 * WINDOW_BYTES + MAX_FRAME)
      throw new ProtocolError("window", "too many bytes before their turn");
    this.budget.reserve(size);
    this.pendingBytes += size;
    this.stash.set(record.seq, { ...record, payload: record.payload.slice() });
  }

  /** Take what is now in turn from the stash, and pass what an earlier run has handled; the next number due. */
  follow(expected: number, ready: Record[]): number {
    for (;;) {
      if (this.stash.has(expected)) ready.push(this.unstash(expected));
      else if (!this.finished.has(expected)) return expected;
      expected++;
    }
  }

  /** Give back all memory; it comes again. */
  forget(): void {
    this.forgetPieces();
    for (const seq of [...this.stash.keys()]) this.unstash(seq);
  }

  forgetPieces(): void {
    this.assembler.clear();
    this.pieceSeq = this.reported = 0;
  }

  ack(): Ack {
    const { lane, epoch, done: upto, outcomes } = this;
    const partial = this.pieceSeq ? [this.pieceSeq, this.assembler.held] : [];
    return {
      lane,
      epoch,
      upto,
      ranges: toRanges(this.finished).slice(0, MAX_RANGES),
      outcomes: outcomes.map((one) => [...one]),
      partial,
    };
  }

  /** What is saved of it. */
  kept(): Uint8Array {
    const writer = new Writer();
    writer.array(4);
    writer.uint(this.done);
    writeList(writer, toRanges(this.finished), writeRange);
    writeList(writer, this.outcomes, writeException);
    writer.uint(this.seen);
    return writer.done();
  }

  restore(kept: Uint8Array): void {
    const reader = new Reader(kept);
    reader.array();
    this.done = reader.uint();
    for (const [low, high] of reader.list(() => readRange(reader))) {
      for (let seq = Math.max(low, this.done + 1); seq <= Math.min(high, this.done + WINDOW); seq++)
        this.finished.add(seq);
    }
    this.outcomes = reader.list(() => readException(reader));
    this.seen = reader.uint();
    this.next = this.done + 1;
  }

  private advance(): void {
    while (this.finished.delete(this.done + 1)) this.done++;
  }

  private unstash(seq: number): Record {
    const record = this.stash.get(seq)!;
    this.stash.delete(seq);
    this.pendingBytes -= sizeOf(record);
    this.budget.release(sizeOf(record));
    return record;
  }

  private note(seq: number, [end, text]: Ending): void {
    const last = this.outcomes.at(-1);
    if (last?.[1] === seq - 1 && last[2] === end && last[3] === text) last[1] = seq;
    else this.outcomes.push([seq, seq, end, text]);
    if (this.outcomes.length > MAX_OUTCOMES) this.outcomes.shift();
  }
}

/** All streams from one peer. `largest` says how many bytes the payload of a message may have. */
export class Receiver {
  private readonly streams = new Map<string, Stream>();
  /** Streams whose saved rows may go. */
  forgotten: Stream[] = [];

  constructor(
    private readonly budget: Budget,
    private readonly largest: () => number = () => MAX_PAYLOAD,
  ) {}

  /** Take up a stream as saved, unless nothing came of it since `oldest`. Throws CodecError. */
  restore(lane: number, epoch: number, kept: Uint8Array, oldest: number): boolean {
    const stream = new Stream(lane, epoch, this.budget);
    stream.restore(kept);
    if (stream.seen < oldest) return false;
    this.streams.set(nameOf(lane, epoch), stream);
    return true;
  }

  /**
   * The records to hand to handlers now, in order, none twice; tombstones are among them. Throws ProtocolError: "window"
   * (the sender passed its window), "bad-piece", "bad-packet", "overloaded". `now` is in Unix milliseconds.
   */
  accept(batch: Batch, now: number): { stream: Stream; ready: Record[] } {
    const stream = this.stream(batch.lane, batch.epoch);
    stream.seen = now;
    stream.beginAt(batch.base);
    const first = stream.next;
    const left = new Set(stream.left);
    try {
      const ready: Record[] = [];
      this.inTurn(stream, batch.records, ready);
      for (const piece of batch.pieces) {
        if (this.isTooLarge(stream, piece)) {
          stream.refuse(piece.seq, ready);
          continue;
        }
        const whole = this.putTogether(stream, piece);
        if (whole) this.inTurn(stream, [whole], ready);
      }
      const { pieceSeq } = stream;
      if (pieceSeq && pieceSeq < stream.next && !stream.left.has(pieceSeq)) stream.forgetPieces(); // a tombstone came instead
      return { stream, ready };
    } catch (error) {
      stream.next = Math.max(first, stream.done + 1); // none of it is handed out: all comes again over the next link
      stream.left = new Set([...left].filter((seq) => !stream.isDone(seq)));
      throw error;
    }
  }

  /** The streams of which something was left with the sender. */
  left(): Stream[] {
    return [...this.streams.values()].filter((stream) => stream.left.size);
  }

  /** Everything handled and saved so far, for the resume state of a new link. */
  acks(): Ack[] {
    const latest = [...this.streams.values()].sort((a, b) => b.seen - a.seen).slice(0, 8);
    const told = latest.filter((stream) => !stream.dirty && stream.outcomes.length <= 16);
    for (const stream of latest) if (!told.includes(stream)) stream.stale = true;
    return told.map((stream) => stream.ack());
  }

  /** What to save now, and the acknowledgement to send once it is saved. */
  checkpoint(): { stream: Stream; kept: Uint8Array; ack: Ack }[] {
    const changed = [...this.streams.values()].filter((stream) => stream.dirty);
    for (const stream of changed) stream.dirty = stream.stale = false;
    return changed.map((stream) => ({ stream, kept: stream.kept(), ack: stream.ack() }));
  }

  /** Acknowledgements owed for what came again, and the progress of large messages. */
  reminders(): Ack[] {
    const due = [...this.streams.values()].filter((stream) => stream.stale && !stream.dirty);
    for (const stream of due) stream.stale = false;
    return due.map((stream) => stream.ack());
  }

  /** Give back the memory of values in assembly, and of what came before its turn. */
  close(): void {
    for (const stream of this.streams.values()) stream.forget();
  }

  private inTurn(stream: Stream, records: Record[], ready: Record[]): void {
    let expected = stream.follow(stream.next, ready);
    for (const record of records) {
      if (record.seq === expected) {
        ready.push(record);
        expected = stream.follow(expected + 1, ready);
      } else if (record.seq < expected) {
        if (stream.left.delete(record.seq)) ready.push(record);
        else stream.stale = true;
      } else {
        stream.putBy(record);
      }
    }
    if (expected - 1 > stream.done + WINDOW) throw tooFar(expected - 1, stream.done);
    stream.next = expected;
  }

  /** Whether a message that is to be refused begins; one that is larger than any is a violation. */
  private isTooLarge(stream: Stream, { seq, offset, total }: Piece): boolean {
    if (offset || (stream.pieceSeq === seq && stream.assembler.held)) return false;
    if (total > MAX_FRAME || total <= this.largest() + MAX_HEAD) return false;
    return (seq >= stream.next || stream.left.has(seq)) && !stream.stash.has(seq) && !stream.isDone(seq);
  }

  private putTogether(stream: Stream, { seq, offset, total, data }: Piece): Record | undefined {
    if ((seq < stream.next && !stream.left.has(seq)) || stream.stash.has(seq) || stream.isDone(seq)) {
      stream.stale = true;
      return undefined;
    }
    if (seq !== stream.pieceSeq) {
      if (offset || (stream.pieceSeq >= stream.next && seq > stream.pieceSeq)) {
        throw new ProtocolError("bad-piece", `slice of ${seq} while ${stream.pieceSeq || stream.next} is due`);
      }
      stream.forgetPieces();
      stream.pieceSeq = seq;
    }
    if (offset < stream.assembler.held) stream.stale = true; // it does not know what we hold
    const whole = stream.assembler.add(offset, total, data);
    if (!whole) {
      if (stream.assembler.held - stream.reported >= PARTIAL_EVERY) {
        stream.reported = stream.assembler.held;
        stream.stale = true;
      }
      return undefined;
    }
    stream.pieceSeq = stream.reported = 0;
    const record = decodeRecord(whole);
    if (record.seq !== seq) throw new ProtocolError("bad-piece", "the pieces hold another message");
    return record;
  }

  private stream(lane: number, epoch: number): Stream {
    const name = nameOf(lane, epoch);
    const known = this.streams.get(name);
    if (known) return known;
    if (this.streams.size >= MAX_STREAMS) this.forgetOldest();
    const stream = new Stream(lane, epoch, this.budget);
    this.streams.set(name, stream);
    return stream;
  }

  private forgetOldest(): void {
    const oldest = [...this.streams.values()].reduce((a, b) => (b.seen < a.seen ? b : a));
    this.streams.delete(nameOf(oldest.lane, oldest.epoch));
    oldest.forget();
    this.forgotten.push(oldest);
  }
}

function nameOf(lane: number, epoch: number): string {
  return `${lane}/${epoch}`;
}

function tooFar(seq: number, done: number): ProtocolError {
  return new ProtocolError("window", `message ${seq} while ${done + 1} is not handled`);
}
