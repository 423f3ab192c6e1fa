/**
 * Keeps every accepted message until it is settled: saved first, then sent. What was put in one turn is one row a lane,
 * saved in one transaction. Rows are deleted when all their messages are settled.
 */

import { encode, Reader } from "../codec.js";
import type { Entry } from "../delivery/receipts.js";
import { type KeptRange, outcomeOf, type Sender, type Settled, tombstone } from "../delivery/sender.js";
import { type Record, sizeOf } from "../delivery/wire.js";
import { asError, NotRunning } from "../errors.js";
import { Delivery, EXPIRED, messageId, type Outcome, PRIORITIES, parseMessageId, type Waiting } from "../message.js";
import type { Row, Storage } from "../storage/contract.js";
import { type LaneQueue, PeerQueue, type SavedRow, type Staged } from "./queues.js";
import { type Place, Received } from "./received.js";
import { decodeRow, encodeRow, PREFIX, parseRowKey, rowKey } from "./rows.js";
import type { Run } from "./runs.js";

const MAILED = "mailed/"; // <peer>/<lane>   [epoch, up to which number relays keep it, since when]
const TRUSTED = 24 * 3_600_000; // milliseconds for which a relay is believed that was left mail
const PEER_BYTES = 64 * 1024 * 1024; // that may wait for one peer

/** What is to be saved of one lane, in one row. */
interface LaneWrite {
  queue: PeerQueue;
  lane: number;
  staged: Staged;
  key: string;
}

/** `wake(peer)` is called when there is something new to send to it. */
export class Outbox {
  private readonly queues = new Map<string, PeerQueue>();
  private readonly received: Received;
  private staged = new Set<PeerQueue>();
  private attached: Row[] = [];
  private closed = false;
  private rewriting: Promise<unknown> = Promise.resolve(); // rows are read and written one after the other
  private readonly takeBack = (id: string): Promise<boolean> => this.cancel(id);

  constructor(
    private readonly storage: Storage,
    private readonly run: Run,
    private readonly wake: (peer: string) => void,
    private readonly failed: (error: Error) => void,
  ) {
    this.received = new Received(storage, (error) => failed(asError(error)));
  }

  /** Take up what earlier runs left; a page is opened more often than messages are overdue. */
  async open(): Promise<void> {
    await this.received.open();
    this.endOverdue();
    for (const [key, value] of await this.storage.read(PREFIX)) {
      try {
        this.takeUp(key, value);
      } catch (error) {
        this.failed(asError(error));
      }
    }
    for (const [key, value] of await this.storage.read(MAILED)) {
      if (!this.isMailed(key, value)) await this.storage.write([[key, null]], false);
    }
  }

  /** Note, over a reload, what relays keep for the peer: it is not left there once more. */
  noteMailed(peer: string): void {
    const rows = this.queue(peer)
      .sender.mailed()
      .map(({ lane, epoch, seq }): Row => [`${MAILED}${peer}/${lane}`, encode([epoch, seq, Date.now()])]);
    this.writeUnsynced(rows);
  }

  /** Relays may have lost what they were given. */
  forgetMailed(peer: string): void {
    const lanes = this.queue(peer).sender.mailed();
    this.queue(peer).sender.forgetMailed();
    const rows = lanes.map(({ lane }): Row => [`${MAILED}${peer}/${lane}`, null]);
    this.writeUnsynced(rows);
  }

  /** Nothing that was accepted is lost: what is staged is saved. */
  async close(): Promise<void> {
    const saved = this.flush();
    this.closed = true;
    for (const queue of this.queues.values()) {
      for (const delivery of [...queue.deliveries.values(), ...queue.received.values()]) delivery.stop();
      queue.relieve();
    }
    await saved;
  }

  sender(peer: string): Sender {
    return this.queue(peer).sender;
  }

  /** Peers for whom something waits. */
  peers(): string[] {
    return [...this.queues.values()].filter((queue) => queue.bytes).map((queue) => queue.peer);
  }

  isEmpty(peer: string): boolean {
    return !this.queues.get(peer)?.bytes;
  }

  /** Messages that are not settled yet, of those put in this run. */
  unsettled(peer: string): number {
    return this.queues.get(peer)?.deliveries.size ?? 0;
  }

  /** How many messages the peer keeps for a handler to come. */
  keptBy(peer: string): number {
    return this.received.count(peer);
  }

  /** What has not ended, to one peer or to all; not what peers keep for a handler to come. */
  waiting(peer?: string): Waiting[] {
    const queues = [...this.queues.values()].filter((queue) => peer === undefined || queue.peer === peer);
    return queues.flatMap((queue) =>
      Array.from(queue.sender.unsettled(), ({ lane, epoch, record, state }) => ({
        id: messageId(queue.peer, lane, epoch, record.seq),
        peer: queue.peer,
        topic: record.topic,
        priority: PRIORITIES[lane]!,
        size: record.payload.length,
        expires: record.expires,
        state,
      })),
    );
  }

  /** Take a message back unless it has gone out; whether it was, which is on disk then. Throws StorageError. */
  async cancel(id: string): Promise<boolean> {
    this.checkOpen();
    const place = parseMessageId(id);
    const queue = place && this.queues.get(place.peer);
    const settled = queue?.sender.cancel(place!.lane, place!.epoch, place!.seq);
    if (!settled || !queue) return false;
    const row = queue.lanes[settled.lane]!.rows.find(
      ({ epoch, last }) => epoch === settled.epoch && last >= place!.seq,
    );
    const rewritten = this.rewriting.then(() => (row ? this.bury(queue, row, settled) : undefined));
    this.rewriting = rewritten.catch(() => undefined);
    await rewritten;
    this.settle(queue.peer, settled);
    return true;
  }

  /** Whether PEER_BYTES wait for the peer. */
  isFull(peer: string): boolean {
    return this.queue(peer).bytes >= PEER_BYTES;
  }

  /** Wait until less than PEER_BYTES wait for the peer. */
  async room(peer: string): Promise<void> {
    const queue = this.queue(peer);
    while (this.isFull(peer)) {
      this.checkOpen();
      await queue.changed();
    }
  }

  /** Wait until all that waits for the peer is settled. */
  async empty(peer: string): Promise<void> {
    const queue = this.queue(peer);
    while (queue.bytes) {
      this.checkOpen();
      await queue.changed();
    }
  }

  /**
   * Accept one message; the promise resolves once it is saved, and `rows` with it, in one transaction with all else that is
   * put in this turn. `expires` is in Unix milliseconds.
   */
  put(
    peer: string,
    lane: number,
    topic: string,
    protocol: string,
    payload: Uint8Array,
    expires: number,
    rows: readonly Row[] = [],
  ): Promise<Delivery> {
    this.checkOpen();
    const queue = this.queue(peer);
    const laneQueue = queue.lanes[lane]!;
    const seq = laneQueue.nextSeq++;
    const record = { seq, expires, topic, protocol, payload };
    const delivery = new Delivery(peer, lane, this.run.epoch, seq, this.takeBack);
    const { staged } = laneQueue;
    staged.records.push(record);
    queue.deliveries.set(`${lane}.${seq}`, delivery);
    queue.bytes += sizeOf(record);
    this.attached.push(...rows);
    if (!this.staged.size) queueMicrotask(() => void this.flush());
    this.staged.add(queue);
    return new Promise((resolve, reject) => staged.waiters.push({ resolve: () => resolve(delivery), reject }));
  }

  /** Tell those who wait how messages ended, and delete the rows that hold nothing else. */
  settle(peer: string, settled: Settled): void {
    const queue = this.queue(peer);
    for (const range of settled.kept) this.noteKept(queue, settled, range);
    if (settled.epoch === this.run.epoch) {
      for (const [seq, outcome] of settled.outcomes) {
        const name = `${settled.lane}.${seq}`;
        queue.deliveries.get(name)?.settle(outcome);
        queue.deliveries.delete(name);
      }
    }
    this.dropRows(queue, queue.lanes[settled.lane]!, settled.epoch, settled.base);
  }

  /** A receipt of `peer` says how messages ended that it had kept; unknown ones are ignored. */
  told(peer: string, { lane, epoch, low, high, end, text }: Entry): void {
    const place = { peer, lane, epoch };
    const outcome = outcomeOf([end, text]);
    const known = this.endReceived(place, low, high, outcome);
    const sender = this.queues.get(peer)?.sender;
    if (!known && sender?.holds(lane, epoch, low)) this.received.toldEarly(place, { low, high, outcome });
  }

  private noteKept(queue: PeerQueue, { lane, epoch }: Settled, range: KeptRange): void {
    const place = { peer: queue.peer, lane, epoch };
    for (let seq = range.low; epoch === this.run.epoch && seq <= range.high; seq++) {
      const name = `${lane}.${seq}`;
      const delivery = queue.deliveries.get(name);
      if (!delivery) continue;
      queue.deliveries.delete(name);
      queue.received.set(name, delivery);
      delivery.keep();
    }
    for (const early of this.received.add(place, range)) this.endReceived(place, early.low, early.high, early.outcome);
  }

  /** False when none of them is known. */
  private endReceived(place: Place, low: number, high: number, outcome: Outcome): boolean {
    const ended = this.received.end(place, low, high);
    const queue = place.epoch === this.run.epoch ? this.queues.get(place.peer) : undefined;
    for (const range of queue ? ended : []) {
      for (let seq = range.low; seq <= range.high; seq++) {
        const name = `${place.lane}.${seq}`;
        queue!.received.get(name)?.settle(outcome);
        queue!.received.delete(name);
      }
    }
    return ended.length > 0;
  }

  /** End messages as expired that their recipient kept and never said more of. */
  private endOverdue(): void {
    for (const { low, high, ...place } of this.received.overdue(Date.now())) {
      this.endReceived(place, low, high, EXPIRED);
    }
  }

  private queue(peer: string): PeerQueue {
    let queue = this.queues.get(peer);
    if (!queue) {
      queue = new PeerQueue(peer);
      this.queues.set(peer, queue);
    }
    return queue;
  }

  /** Take up what an earlier run noted that relays keep; false when it is old, or says nothing of what waits. */
  private isMailed(key: string, value: Uint8Array): boolean {
    try {
      const reader = new Reader(value);
      reader.array();
      const [epoch, seq, at] = [reader.uint(), reader.uint(), reader.uint()];
      const peer = key.slice(MAILED.length, MAILED.length + 44);
      const recent = Math.abs(Date.now() - at) < TRUSTED;
      return recent && this.queue(peer).sender.keptByRelays(Number(key.at(-1)), epoch, seq);
    } catch (error) {
      this.failed(asError(error));
      return false;
    }
  }

  private takeUp(key: string, value: Uint8Array): void {
    const { peer, lane } = parseRowKey(key);
    const { epoch, records } = decodeRow(value);
    this.saved(this.queue(peer), lane, key, epoch, records);
  }

  private saved(queue: PeerQueue, lane: number, key: string, epoch: number, records: Record[]): void {
    const size = records.reduce((sum, record) => sum + sizeOf(record), 0);
    if (epoch !== this.run.epoch) queue.bytes += size;
    queue.lanes[lane]!.rows.push({ key, epoch, last: records.at(-1)!.seq, size });
    queue.sender.push(lane, epoch, records);
  }

  private async flush(): Promise<void> {
    const queues = [...this.staged];
    this.staged = new Set();
    const attached = this.attached.splice(0);
    const writes = queues.flatMap((queue) => this.unstage(queue));
    if (!writes.length) return;
    const rows = writes.map(({ key, staged }): Row => [key, encodeRow(this.run.epoch, staged.records)]);
    try {
      await this.storage.write([...rows, ...attached], true);
    } catch (error) {
      for (const { queue, lane, staged } of writes) this.notSaved(queue, lane, staged, asError(error));
      return;
    }
    for (const { queue, lane, staged, key } of writes) {
      this.saved(queue, lane, key, this.run.epoch, staged.records);
      for (const { resolve } of staged.waiters) resolve();
    }
    if (!this.closed) for (const queue of queues) this.wake(queue.peer);
  }

  private unstage(queue: PeerQueue): LaneWrite[] {
    return queue.lanes.flatMap((laneQueue, lane) => {
      const { staged } = laneQueue;
      if (!staged.records.length) return [];
      laneQueue.staged = { records: [], waiters: [] };
      return [{ queue, lane, staged, key: rowKey(queue.peer, lane, this.run.number, staged.records[0]!.seq) }];
    });
  }

  /** Their numbers become tombstones. */
  private notSaved(queue: PeerQueue, lane: number, { records, waiters }: Staged, error: Error): void {
    for (const record of records) {
      queue.bytes -= sizeOf(record);
      queue.deliveries.delete(`${lane}.${record.seq}`);
    }
    for (const { reject } of waiters) reject(error);
    queue.relieve();
  }

  /** Write a row without the payloads of those that were taken back, or delete it when nothing else is in it. */
  private async bury(queue: PeerQueue, row: SavedRow, { outcomes, base }: Settled): Promise<void> {
    if (row.last < base) return this.storage.write([[row.key, null]], true);
    const saved = (await this.storage.read(row.key)).find(([key]) => key === row.key);
    if (!saved) return; // all of it was settled meanwhile
    const { epoch, records } = decodeRow(saved[1]);
    const left = records.map((record) => (outcomes.has(record.seq) ? tombstone(record.seq) : record));
    await this.storage.write([[row.key, encodeRow(epoch, left)]], true);
    const size = left.reduce((sum, record) => sum + sizeOf(record), 0);
    queue.bytes -= row.size - size;
    row.size = size;
    queue.relieve();
  }

  private dropRows(queue: PeerQueue, { rows }: LaneQueue, epoch: number, base: number): void {
    const deleted: Row[] = [];
    while (rows.length && rows[0]!.epoch === epoch && rows[0]!.last < base) {
      const row = rows.shift()!;
      queue.bytes -= row.size;
      deleted.push([row.key, null]);
    }
    if (!deleted.length) return;
    this.writeUnsynced(deleted);
    queue.relieve();
  }

  /** Rows whose loss in a power cut does no harm. */
  private writeUnsynced(rows: Row[]): void {
    if (rows.length) this.storage.write(rows, false).catch((error: unknown) => this.failed(asError(error)));
  }

  private checkOpen(): void {
    if (this.closed) throw new NotRunning();
  }
}
