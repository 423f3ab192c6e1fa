/** What applications see of a message: topic, priority, delivery and outcome. */

import { utf8 } from "./bytes.js";
import { Cancelled, Expired, HandlerFailed, InvalidTopic, type MMError, NotRunning, Refused } from "./errors.js";

export const MAX_PAYLOAD = 64 * 1024 * 1024; // bytes
export const MAX_TOPIC = 255; // bytes

/** The four lanes, first to last: order is kept within one, never across. */
export type Priority = "control" | "high" | "normal" | "low";
export const PRIORITIES: readonly Priority[] = ["control", "high", "normal", "low"];

/** How a message ended. */
export interface Outcome {
  /** "failed": a handler of the peer threw, again and again. Realtime messages are "sent" or "dropped". */
  state: "delivered" | "failed" | "expired" | "refused" | "cancelled" | "sent" | "dropped";
  /** Why it was not delivered; "unhandled" when nobody at the peer listens to its topic. */
  reason: string;
}

export const DELIVERED: Outcome = { state: "delivered", reason: "" };
export const UNHANDLED: Outcome = { state: "refused", reason: "unhandled" };
export const EXPIRED: Outcome = { state: "expired", reason: "not confirmed in time" };
export const CANCELLED: Outcome = { state: "cancelled", reason: "its sender took it back" };
export const SENT: Outcome = { state: "sent", reason: "" };

const ERRORS = { failed: HandlerFailed, expired: Expired, refused: Refused, cancelled: Cancelled };

/** One accepted message, as its sender sees it. `takeBack` cancels a durable one by its id. */
export class Delivery {
  private ended: Outcome | undefined;
  private kept = false;
  private stopped = false;
  private waiters: Waiter[] = [];

  constructor(
    readonly peer: string,
    readonly lane: number = 0,
    readonly epoch: number = 0,
    readonly seq: number = 0,
    private readonly takeBack: (id: string) => Promise<boolean> = async () => false,
  ) {}

  /** How it ended, undefined while it has not. */
  get outcome(): Outcome | undefined {
    return this.ended;
  }

  get id(): string {
    return messageId(this.peer, this.lane, this.epoch, this.seq);
  }

  /** waiting | received (on the disk of the peer) | delivered | failed | expired | refused | cancelled (realtime: sent | dropped). */
  get state(): string {
    return this.outcome?.state ?? (this.kept ? "received" : "waiting");
  }

  /**
   * Its outcome, once the peer's handlers are done. Throws HandlerFailed, Expired, Refused, Cancelled, or NotRunning when
   * the platform stops first; a durable message is then kept.
   */
  done(): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ early: false, resolve: () => resolve(this.outcome!), reject });
      this.tell();
    });
  }

  /** Resolves once it is on the disk of the peer, or handled there; throws as `done` does. */
  received(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ early: true, resolve, reject });
      this.tell();
    });
  }

  /** Take it back unless it has gone out; the signIds of those who do not get it, one or none. Throws StorageError. */
  async cancel(): Promise<string[]> {
    return (await this.takeBack(this.id)) ? [this.peer] : [];
  }

  /** End it; only the first outcome counts. */
  settle(outcome: Outcome): void {
    this.ended ??= outcome;
    this.tell();
  }

  /** It is on the disk of the peer. */
  keep(): void {
    this.kept = true;
    this.tell();
  }

  /** The platform stops before it has ended. */
  stop(): void {
    this.stopped = true;
    this.tell();
  }

  private tell(): void {
    const ready = this.waiters.filter(({ early }) => this.outcome || this.stopped || (early && this.kept));
    this.waiters = this.waiters.filter((waiter) => !ready.includes(waiter));
    for (const waiter of ready) this.answer(waiter);
  }

  private answer({ early, resolve, reject }: Waiter): void {
    const { state, reason } = this.outcome ?? { state: "sent", reason: "" };
    const ErrorOfState = ERRORS[state as keyof typeof ERRORS];
    if (ErrorOfState) reject(new ErrorOfState(`${this.id}: ${reason || state}`));
    else if (this.outcome || (early && this.kept)) resolve();
    else reject(new NotRunning(`the platform stopped before ${this.id} ended; it goes on after a restart`));
  }
}

/** A message that has not ended: what waits here, is on its way, or is with a relay. */
export interface Waiting {
  id: string;
  peer: string;
  topic: string;
  priority: Priority;
  /** Bytes of the payload. */
  size: number;
  /** When it is given up, in Unix milliseconds. */
  expires: number;
  state: "waiting" | "sent" | "relayed";
}

/** The name of a message, over restarts, too. */
export function messageId(peer: string, lane: number, epoch: number, seq: number): string {
  return `${epoch}.${lane}.${seq}@${peer}`;
}

/** Its parts; undefined for text that is no name of a message. */
export function parseMessageId(id: string): { peer: string; lane: number; epoch: number; seq: number } | undefined {
  const found = /^(\d{1,16})\.([0-3])\.(\d{1,16})@(.{44})$/.exec(id);
  if (!found) return undefined;
  return { epoch: Number(found[1]), lane: Number(found[2]), seq: Number(found[3]), peer: found[4]! };
}

/** `early`: for the disk of the peer, not for the end. */
interface Waiter {
  early: boolean;
  resolve: () => void;
  reject: (error: MMError) => void;
}

/** Throws InvalidTopic unless it is printable segments, 255 bytes at most, no wildcard among them. */
export function checkTopic(topic: string): void {
  checkSegments(topic);
  if (topic.split(".").some((segment) => segment === "*" || segment === ">")) {
    throw new InvalidTopic(`${topic}: a topic has no wildcards; they belong to subscriptions`);
  }
}

/** Throws InvalidTopic unless `text` is printable segments joined by dots. */
export function checkSegments(text: string): void {
  if (typeof text !== "string" || !text || utf8(text).length > MAX_TOPIC) {
    throw new InvalidTopic(`a topic is text of 1 to ${MAX_TOPIC} bytes`);
  }
  if (text.split(".").some((segment) => !segment || /[\p{C}\p{Z}]/u.test(segment))) {
    throw new InvalidTopic(`${text}: segments between dots are printable, without spaces and not empty`);
  }
}
