/**
 * Keeps every accepted message until it is settled: saved first, then sent. What was put in one turn is one row a lane,
 * saved in one transaction. Rows are deleted when all their messages are settled.
 *
 *     outbox/<peer>/<lane>/<run>/<first>   [epoch, [record]]
 */

import { Reader, Writer } from "../codec.js";
import { asError, NotRunning, type MMError } from "../errors.js";
import type { Row, Storage } from "../storage/contract.js";
import { Delivery } from "../message.js";
import { Sender, type Settled } from "../delivery/sender.js";
import { LANES, readRecord, sizeOf, writeList, writeRecord, type Record } from "../delivery/wire.js";

const PEER_BYTES = 64 * 1024 * 1024; // that may wait for one peer

interface Kept {
  key: string;
  epoch: number;
  last: number;
  size: number;
}

/** What was put in this turn. */
interface Staged {
  records: Record[];
  waiters: { resolve: () => void; reject: (error: Error) => void }[];
}

/** What waits for one peer. */
class Box {
  readonly sender = new Sender();
  readonly rows: Kept[][] = Array.from({ length: LANES }, () => []);
  readonly staged: Staged[] = Array.from({ length: LANES }, () => ({ records: [], waiters: [] }));
  readonly nextSeq: number[] = new Array<number>(LANES).fill(1);
  readonly deliveries = new Map<string, Delivery>();
  bytes = 0;
  waiting: (() => void)[] = [];

  constructor(readonly peer: string) {}

  /** Wake those who wait for room, or for all to be settled. */
  relieve(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  changed(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** `wake(peer)` is called when there is something new to send to it. */
export class Outbox {
  private readonly boxes = new Map<string, Box>();
  private staged = new Set<Box>();
  private closed = false;

  constructor(
    private readonly storage: Storage,
    private readonly run: number,
    readonly epoch: number,
    private readonly wake: (peer: string) => void,
    private readonly failed: (error: Error) => void,
  ) {}

  /** Take up what earlier runs left. */
  async open(): Promise<void> {
    for (const [key, value] of await this.storage.read("outbox/")) {
      try {
        this.takeUp(key, value);
      } catch (error) {
        this.failed(asError(error));
      }
    }
  }

  /** Nothing that was accepted is lost: what is staged is saved. */
  async close(): Promise<void> {
    const saved = this.flush();
    this.closed = true;
    for (const box of this.boxes.values()) {
      for (const delivery of box.deliveries.values()) delivery.stop();
      box.relieve();
    }
    await saved;
  }

  sender(peer: string): Sender {
    return this.box(peer).sender;
  }

  /** Peers for whom something waits. */
  peers(): string[] {
    return [...this.boxes.values()].filter((box) => box.bytes).map((box) => box.peer);
  }

  isEmpty(peer: string): boolean {
    return !this.boxes.get(peer)?.bytes;
  }

  /** Messages that are not settled yet, of those put in this run. */
  unsettled(peer: string): number {
    return this.boxes.get(peer)?.deliveries.size ?? 0;
  }

  /** Wait until less than PEER_BYTES wait for the peer. */
  async room(peer: string): Promise<void> {
    const box = this.box(peer);
    while (box.bytes >= PEER_BYTES) {
      this.checkOpen();
      await box.changed();
    }
  }

  /** Wait until all that waits for the peer is settled. */
  async empty(peer: string): Promise<void> {
    const box = this.box(peer);
    while (box.bytes) {
      this.checkOpen();
      await box.changed();
    }
  }

  /** Accept one message; the promise resolves once it is saved. `expires` is in Unix milliseconds. */
  put(peer: string, lane: number, topic: string, protocol: string, payload: Uint8Array, expires: number): Promise<Delivery> {
    this.checkOpen();
    const box = this.box(peer);
    const seq = box.nextSeq[lane]!++;
    const record = { seq, expires, topic, protocol, payload };
    const delivery = new Delivery(peer, lane, this.epoch, seq);
    const staged = box.staged[lane]!;
    staged.records.push(record);
    box.deliveries.set(`${lane}.${seq}`, delivery);
    box.bytes += sizeOf(record);
    if (!this.staged.size) queueMicrotask(() => void this.flush());
    this.staged.add(box);
    return new Promise((resolve, reject) => staged.waiters.push({ resolve: () => resolve(delivery), reject }));
  }

  /** Tell those who wait how messages ended, and delete the rows that hold nothing else. */
  settle(peer: string, settled: Settled): void {
    const box = this.box(peer);
    if (settled.epoch === this.epoch) {
      for (const [seq, outcome] of settled.outcomes) {
        const name = `${settled.lane}.${seq}`;
        box.deliveries.get(name)?.settle(outcome);
        box.deliveries.delete(name);
      }
    }
    this.dropRows(box, settled.lane, settled.epoch, settled.base);
  }

  private box(peer: string): Box {
    let box = this.boxes.get(peer);
    if (!box) this.boxes.set(peer, (box = new Box(peer)));
    return box;
  }

  private takeUp(key: string, value: Uint8Array): void {
    const { peer, lane } = parseKey(key);
    const reader = new Reader(value);
    reader.array();
    const epoch = reader.uint();
    this.kept(this.box(peer), lane, key, epoch, reader.list(() => readRecord(reader)));
  }

  private kept(box: Box, lane: number, key: string, epoch: number, records: Record[]): void {
    const size = records.reduce((sum, record) => sum + sizeOf(record), 0);
    if (epoch !== this.epoch) box.bytes += size;
    box.rows[lane]!.push({ key, epoch, last: records.at(-1)!.seq, size });
    box.sender.push(lane, epoch, records);
  }

  private async flush(): Promise<void> {
    const boxes = [...this.staged];
    this.staged = new Set();
    const writes = boxes.flatMap((box) => box.staged.map((staged, lane) => ({ box, lane, staged }))).filter(({ staged }) => staged.records.length);
    for (const { box, lane } of writes) box.staged[lane] = { records: [], waiters: [] };
    if (!writes.length) return;
    const keyed = writes.map((write) => ({ ...write, key: this.key(write.box.peer, write.lane, write.staged.records[0]!.seq) }));
    try {
      await this.storage.write(keyed.map(({ key, staged }) => [key, this.row(staged.records)]), true);
    } catch (error) {
      for (const { box, lane, staged } of keyed) this.notSaved(box, lane, staged, asError(error));
      return;
    }
    for (const { box, lane, staged, key } of keyed) {
      this.kept(box, lane, key, this.epoch, staged.records);
      for (const { resolve } of staged.waiters) resolve();
    }
    if (!this.closed) for (const box of boxes) this.wake(box.peer);
  }

  /** Their numbers become tombstones. */
  private notSaved(box: Box, lane: number, { records, waiters }: Staged, error: Error): void {
    for (const record of records) {
      box.bytes -= sizeOf(record);
      box.deliveries.delete(`${lane}.${record.seq}`);
    }
    for (const { reject } of waiters) reject(error);
    box.relieve();
  }

  private dropRows(box: Box, lane: number, epoch: number, base: number): void {
    const rows = box.rows[lane]!;
    const deleted: Row[] = [];
    while (rows.length && rows[0]!.epoch === epoch && rows[0]!.last < base) {
      const row = rows.shift()!;
      box.bytes -= row.size;
      deleted.push([row.key, null]);
    }
    if (!deleted.length) return;
    this.storage.write(deleted, false).catch((error: MMError) => this.failed(error));
    box.relieve();
  }

  private row(records: Record[]): Uint8Array {
    const writer = new Writer();
    writer.array(2);
    writer.uint(this.epoch);
    writeList(writer, records, writeRecord);
    return writer.done();
  }

  private key(peer: string, lane: number, first: number): string {
    return `outbox/${peer}/${lane}/${String(this.run).padStart(10, "0")}/${String(first).padStart(16, "0")}`;
  }

  private checkOpen(): void {
    if (this.closed) throw new NotRunning("the platform is stopping");
  }
}

/** A signId may hold slashes itself; it has 44 characters. */
function parseKey(key: string): { peer: string; lane: number } {
  return { peer: key.slice(7, 51), lane: Number(key.slice(52, 53)) };
}
