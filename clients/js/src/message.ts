/** One accepted message, as its sender sees it. */

import { Expired, NotRunning, Refused, type MMError } from "./errors.js";
import type { Outcome } from "./delivery/outcome.js";

export class Delivery {
  /** How it ended, undefined while it has not. */
  outcome: Outcome | undefined;
  private waiters: { resolve: (outcome: Outcome) => void; reject: (error: MMError) => void }[] = [];
  private stopped = false;

  constructor(
    readonly peer: string,
    readonly lane: number = 0,
    readonly epoch: number = 0,
    readonly seq: number = 0,
  ) {}

  get id(): string {
    return `${this.epoch}.${this.lane}.${this.seq}@${this.peer}`;
  }

  /** waiting | delivered | expired | refused (realtime: sent | dropped). */
  get state(): string {
    return this.outcome?.state ?? "waiting";
  }

  /**
   * Its outcome, once the peer's handlers are done. Throws Expired, Refused, or NotRunning when the platform stops
   * first; a durable message is then kept.
   */
  done(): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ resolve, reject });
      this.tell();
    });
  }

  /** End it; only the first outcome counts. */
  settle(outcome: Outcome): void {
    this.outcome ??= outcome;
    this.tell();
  }

  /** The platform stops before it has ended. */
  stop(): void {
    this.stopped = true;
    this.tell();
  }

  private tell(): void {
    const { outcome } = this;
    if (!outcome && !this.stopped) return;
    for (const { resolve, reject } of this.waiters.splice(0)) {
      if (!outcome) reject(new NotRunning(`the platform stopped before ${this.id} ended; it goes on after a restart`));
      else if (outcome.state === "expired") reject(new Expired(`${this.id}: ${outcome.reason}`));
      else if (outcome.state === "refused") reject(new Refused(`${this.id}: ${outcome.reason}`));
      else resolve(outcome);
    }
  }
}
