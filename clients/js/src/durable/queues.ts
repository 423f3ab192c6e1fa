/** What waits for one peer, a queue a lane. */

import { Sender } from "../delivery/sender.js";
import { LANES, type Record } from "../delivery/wire.js";
import type { Delivery } from "../message.js";

/** A row that is saved: its messages are `epoch`'s up to number `last`. */
export interface SavedRow {
  key: string;
  epoch: number;
  last: number;
  size: number; // bytes
}

/** What was put in this turn, and who waits for it to be saved. */
export interface Staged {
  records: Record[];
  waiters: { resolve: () => void; reject: (error: Error) => void }[];
}

/** The messages of one lane: in saved rows, oldest first, or staged. */
export class LaneQueue {
  readonly rows: SavedRow[] = [];
  staged: Staged = { records: [], waiters: [] };
  nextSeq = 1;
}

export class PeerQueue {
  readonly sender = new Sender();
  readonly lanes: readonly LaneQueue[] = Array.from({ length: LANES }, () => new LaneQueue());
  /** Those of this run that are not settled, by `lane.seq`. */
  readonly deliveries = new Map<string, Delivery>();
  /** Those of this run that the peer keeps, and whose end is not known. */
  readonly received = new Map<string, Delivery>();
  bytes = 0;
  private waiting: (() => void)[] = [];

  constructor(readonly peer: string) {}

  /** Wake those who wait for room, or for all to be settled. */
  relieve(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** Resolves with the next `relieve`. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}
