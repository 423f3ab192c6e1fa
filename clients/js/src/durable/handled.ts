/**
 * Makes durable what was handled, then lets it be acknowledged. Rows are small (a few numbers a stream). They need no
 * sync: a row lost to a power cut was either acknowledged, and the sender's base then says so, or it was not. Rows that
 * others attach go in the same transaction; a message that is kept is synced, as its sender forgets it.
 *
 *     handled/<peer>/<lane>/<epoch>   what a Receiver keeps of one stream
 */

import { Budget } from "../delivery/fragments.js";
import { Receiver } from "../delivery/receiver.js";
import type { Ack } from "../delivery/wire.js";
import { asError } from "../errors.js";
import { MAX_PAYLOAD } from "../message.js";
import type { Row, Storage } from "../storage/contract.js";

const PREFIX = "handled/";
const ASSEMBLY = 128 * 1024 * 1024; // bytes of values in assembly, of all peers
const KEEP = 15 * 24 * 3_600_000; // milliseconds: twice the default time to live, and a day
const RETRY_AFTER = 1000; // milliseconds until a failed write is tried again

/** Rows to be saved with what is handled; `saved` is called then. */
interface Attached {
  rows: Row[];
  durable: boolean;
  saved: () => void;
}

/** `acknowledge(peer, acks)` is called once it is saved; `largest(peer)` says how large the payload of a message may be. */
export class Handled {
  private readonly receivers = new Map<string, Receiver>();
  private readonly budget = new Budget(ASSEMBLY);
  private dirty = new Set<string>();
  private attached: Attached[] = [];
  private holding = false; // durable rows are under way: what comes later is saved after them
  private underWay: Promise<void> = Promise.resolve();
  private armed = false;
  private closed = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly storage: Storage,
    private readonly acknowledge: (peer: string, acks: Ack[]) => void,
    private readonly failed: (error: Error) => void,
    private readonly largest: (peer: string) => number = () => MAX_PAYLOAD,
  ) {}

  /** Read what earlier runs handled; drop what is too old to come again. */
  async open(): Promise<void> {
    const gone: Row[] = [];
    for (const [key, value] of await this.storage.read(PREFIX)) {
      const peer = key.slice(PREFIX.length, PREFIX.length + 44);
      const [lane, epoch] = key
        .slice(PREFIX.length + 45)
        .split("/")
        .map(Number);
      try {
        if (!this.receiver(peer).restore(lane!, epoch!, value, Date.now() - KEEP)) gone.push([key, null]);
      } catch (error) {
        this.failed(asError(error));
      }
    }
    if (gone.length) await this.storage.write(gone, false);
  }

  /** Save what is handled. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.underWay;
    this.holding = false;
    await this.flush();
  }

  receiver(peer: string): Receiver {
    let receiver = this.receivers.get(peer);
    if (!receiver) {
      receiver = new Receiver(this.budget, () => this.largest(peer));
      this.receivers.set(peer, receiver);
    }
    return receiver;
  }

  /** Something of `peer` was handled: save it, then acknowledge. In the same turn, so that a page that goes has saved it. */
  save(peer: string): void {
    this.dirty.add(peer);
    this.arm();
  }

  /** Save these with what is handled in this turn, and after all that was attached before. */
  attach(rows: Row[], durable: boolean, saved: () => void = () => {}): void {
    this.attached.push({ rows, durable, saved });
    this.arm();
  }

  private arm(): void {
    if (this.armed || this.closed || this.timer || this.holding || !(this.dirty.size || this.attached.length)) return;
    this.armed = true;
    queueMicrotask(() => {
      this.armed = false;
      this.underWay = this.flush();
    });
  }

  private async flush(): Promise<void> {
    const peers = [...this.dirty];
    this.dirty = new Set();
    const attached = this.attached.splice(0);
    const durable = attached.some((one) => one.durable);
    const rows = attached.flatMap((one) => one.rows);
    const saving = peers.map((peer) => {
      const receiver = this.receiver(peer);
      const checkpoint = receiver.checkpoint();
      for (const stream of receiver.forgotten.splice(0)) rows.push([key(peer, stream.lane, stream.epoch), null]);
      for (const { stream, kept } of checkpoint) rows.push([key(peer, stream.lane, stream.epoch), kept]);
      return { peer, checkpoint };
    });
    if (!rows.length) return;
    this.holding = durable;
    try {
      await this.storage.write(rows, durable);
      if (durable) this.holding = false;
      for (const { saved } of attached) saved();
      for (const { peer, checkpoint } of saving)
        this.acknowledge(
          peer,
          checkpoint.map(({ ack }) => ack),
        );
      this.arm();
    } catch (error) {
      this.failed(asError(error));
      this.attached.unshift(...attached);
      for (const { peer, checkpoint } of saving) {
        for (const { stream } of checkpoint) stream.dirty = true;
        this.dirty.add(peer);
      }
      this.again();
    }
  }

  /** Nothing is acknowledged until it is saved; there may be room again in a second. */
  private again(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.holding = false;
      this.arm();
    }, RETRY_AFTER);
  }
}

function key(peer: string, lane: number, epoch: number): string {
  return `${PREFIX}${peer}/${lane}/${epoch}`;
}
