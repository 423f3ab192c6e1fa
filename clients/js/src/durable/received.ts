/**
 * Remembers which of our messages their recipient keeps for a handler to come: their ids, nothing else. A receipt of the
 * recipient tells their end.
 *
 *     received/<peer>/<lane>/<epoch>/<low>   [high, when the last of them expires]
 */

import { Reader, Writer } from "../codec.js";
import type { KeptRange } from "../delivery/sender.js";
import type { Outcome } from "../message.js";
import type { Row, Storage } from "../storage/contract.js";

const PREFIX = "received/";
const OVERDUE = 7 * 24 * 3_600_000; // milliseconds after its expiry until which a receipt may still come
const MAX_EARLY = 4096; // receipts that came before the acknowledgement they belong to

/** A stream of ours to one peer. */
export interface Place {
  peer: string;
  lane: number;
  epoch: number;
}

/** What a receipt says of the numbers `low` to `high`. */
export interface Told {
  low: number;
  high: number;
  outcome: Outcome;
}

export class Received {
  private readonly ranges = new Map<string, KeptRange[]>(); // by stream, in order
  private readonly early = new Map<string, Told[]>();
  private earlyCount = 0;

  constructor(
    private readonly storage: Storage,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Read what earlier runs left. */
  async open(): Promise<void> {
    for (const [key, value] of await this.storage.read(PREFIX)) {
      try {
        const reader = new Reader(value);
        reader.array();
        const stream = key.slice(0, key.lastIndexOf("/"));
        const range = { low: Number(key.slice(stream.length + 1)), high: reader.uint(), until: reader.uint() };
        this.of(stream).push(range);
      } catch (error) {
        this.failed(error);
        this.write([[key, null]]);
      }
    }
  }

  /** A peer keeps these; what was told of them before. */
  add(place: Place, added: KeptRange): Told[] {
    const stream = streamKey(place);
    const rows: Row[] = [];
    let { low, high, until } = added;
    for (const known of this.take(stream, low - 1, high, rows)) {
      low = Math.min(low, known.low); // one that ends just below grows
      high = Math.max(high, known.high);
      until = Math.max(until, known.until);
    }
    this.put(stream, { low, high, until }, rows);
    this.write(rows);
    return this.takeEarly(stream, added);
  }

  /** Forget these, as far as they are known; those that are, as ranges. */
  end(place: Place, low: number, high: number): { low: number; high: number }[] {
    const stream = streamKey(place);
    const rows: Row[] = [];
    const ended = this.take(stream, low, high, rows).map((known) => {
      if (known.low < low) this.put(stream, { ...known, high: low - 1 }, rows);
      if (known.high > high) this.put(stream, { ...known, low: high + 1 }, rows);
      return { low: Math.max(low, known.low), high: Math.min(high, known.high) };
    });
    this.write(rows);
    return ended;
  }

  /** A receipt for messages whose acknowledgement is yet to be seen. */
  toldEarly(place: Place, told: Told): void {
    if (this.earlyCount >= MAX_EARLY) return;
    const stream = streamKey(place);
    this.early.set(stream, [...(this.early.get(stream) ?? []), told]);
    this.earlyCount++;
  }

  /** How many messages the peer keeps. */
  count(peer: string): number {
    const streams = [...this.ranges].filter(([stream]) => stream.startsWith(`${PREFIX}${peer}/`));
    return streams.flatMap(([, ranges]) => ranges).reduce((sum, { low, high }) => sum + high - low + 1, 0);
  }

  /** Ranges that expired long ago, and of which no receipt came. */
  overdue(now: number): (Place & KeptRange)[] {
    return [...this.ranges].flatMap(([stream, ranges]) =>
      ranges.filter(({ until }) => until + OVERDUE <= now).map((range) => ({ ...placeOf(stream), ...range })),
    );
  }

  private of(stream: string): KeptRange[] {
    let ranges = this.ranges.get(stream);
    if (!ranges) {
      ranges = [];
      this.ranges.set(stream, ranges);
    }
    return ranges;
  }

  private put(stream: string, range: KeptRange, rows: Row[]): void {
    const ranges = this.of(stream);
    const position = ranges.findIndex(({ low }) => low > range.low);
    ranges.splice(position < 0 ? ranges.length : position, 0, range);
    const writer = new Writer();
    writer.array(2);
    writer.uint(range.high);
    writer.uint(range.until);
    rows.push([rowKey(stream, range.low), writer.done()]);
  }

  /** Take out what shares a number with `low` to `high`. */
  private take(stream: string, low: number, high: number, rows: Row[]): KeptRange[] {
    const ranges = this.of(stream);
    const taken = ranges.filter((range) => range.low <= high && range.high >= low);
    const rest = ranges.filter((range) => !taken.includes(range));
    if (rest.length) this.ranges.set(stream, rest);
    else this.ranges.delete(stream);
    for (const range of taken) rows.push([rowKey(stream, range.low), null]);
    return taken;
  }

  private takeEarly(stream: string, { low, high }: KeptRange): Told[] {
    const told = this.early.get(stream) ?? [];
    const found = told.filter((one) => one.low <= high && one.high >= low);
    const rest = told.filter((one) => !found.includes(one));
    if (rest.length) this.early.set(stream, rest);
    else this.early.delete(stream);
    this.earlyCount -= found.length;
    return found;
  }

  /** Not durable: of a row that a power cut took the message is still in the outbox, and acknowledged once more. */
  private write(rows: Row[]): void {
    if (rows.length) this.storage.write(rows, false).catch(this.failed);
  }
}

function streamKey({ peer, lane, epoch }: Place): string {
  return `${PREFIX}${peer}/${lane}/${epoch}`;
}

function placeOf(stream: string): Place {
  const [lane, epoch] = stream
    .slice(PREFIX.length + 45)
    .split("/")
    .map(Number);
  return { peer: stream.slice(PREFIX.length, PREFIX.length + 44), lane: lane!, epoch: epoch! };
}

function rowKey(stream: string, low: number): string {
  return `${stream}/${String(low).padStart(16, "0")}`;
}
