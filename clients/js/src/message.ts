/** What applications see of a message: topic, priority, delivery and outcome. */

import { utf8 } from "./bytes.js";
import { Expired, InvalidTopic, type MMError, NotRunning, Refused } from "./errors.js";

export const MAX_PAYLOAD = 64 * 1024 * 1024; // bytes
export const MAX_TOPIC = 255; // bytes

/** The four lanes, first to last: order is kept within one, never across. */
export type Priority = "control" | "high" | "normal" | "low";
export const PRIORITIES: readonly Priority[] = ["control", "high", "normal", "low"];

/** How a message ended. */
export interface Outcome {
  state: "delivered" | "expired" | "refused" | "sent" | "dropped";
  /** False when no handler at the peer listened to the topic. */
  handled: boolean;
  /** Why it was not delivered. */
  reason: string;
}

export const DELIVERED: Outcome = { state: "delivered", handled: true, reason: "" };
export const UNHANDLED: Outcome = { state: "delivered", handled: false, reason: "unhandled" };
export const EXPIRED: Outcome = { state: "expired", handled: false, reason: "not confirmed in time" };
export const SENT: Outcome = { state: "sent", handled: false, reason: "" };

/** What a reason word of an acknowledgement means. */
export function outcomeOf(reason: string): Outcome {
  if (reason === "unhandled") return UNHANDLED;
  return reason === "expired" ? EXPIRED : { state: "refused", handled: false, reason };
}

/** One accepted message, as its sender sees it. */
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

/** Throws InvalidTopic unless it is printable segments, 255 bytes at most, no wildcard among them. */
export function checkTopic(topic: string): void {
  checkPattern(topic);
  if (topic.split(".").some((segment) => segment === "*" || segment === ">")) {
    throw new InvalidTopic(`${topic}: a topic has no wildcards; they belong to subscriptions`);
  }
}

export function checkPattern(pattern: string): void {
  if (typeof pattern !== "string" || !pattern || utf8(pattern).length > MAX_TOPIC) {
    throw new InvalidTopic(`a topic is text of 1 to ${MAX_TOPIC} bytes`);
  }
  if (pattern.split(".").some((segment) => !segment || /[\p{C}\p{Z}]/u.test(segment))) {
    throw new InvalidTopic(`${pattern}: segments between dots are printable, without spaces and not empty`);
  }
}
