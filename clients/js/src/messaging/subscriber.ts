/** One handler of one pattern: its queue, and what it makes of a message. */

import { asError, Refused, Retry } from "../errors.js";
import { givesMany, type Handler, isThenable } from "./handlers.js";
import type { SubscriptionOptions } from "./options.js";
import { fitted, type Parse, Unfit } from "./parsing.js";

const LONGEST_PAUSE = 60; // seconds between two attempts at one message

const MANY =
  "it has many replies, or none: they come one by one, to requestMany(), request_many() or mm request --many";

/** How often, and when, a handler that threw gets a message again. */
export interface Repetition {
  retries: number;
  backoff: number;
  ordered: boolean;
}

/** What the handlers of one message gave: the first value that is not undefined, or the first error. */
export interface Result<T = unknown> {
  readonly value?: T;
  readonly error?: Error;
}

export const DONE: Result<never> = {};
/** Nobody listens. */
export const NOBODY: Result<never> = {};

/** How a message is handled: one that is `durable` is given again to those that throw; `reader` asked for a series. */
export interface Handling {
  durable: boolean;
  reader?: AbortSignal;
}

/** A message some of whose handlers are still at work. */
export class Pending {
  private remaining: number;
  private result: Result = DONE;

  constructor(
    subscribers: number,
    readonly handling: Handling,
    private readonly finished: (result: Result) => void,
  ) {
    this.remaining = subscribers;
  }

  done(result: Result): void {
    if (!this.result.error && (result.error || (this.result === DONE && result.value !== undefined)))
      this.result = result;
    if (--this.remaining === 0) this.finished(this.result);
  }
}

interface Item {
  name: string;
  sender: string;
  payload: unknown;
  pending: Pending;
  /** How often the handler threw. */
  tries: number;
}

/** Handles one message after the other, in order. `failed` is told of handlers that throw. */
export class Subscriber {
  readonly segments: string[];
  private readonly queue: Item[] = [];
  private working = false;
  private resting = false; // the first in the queue is to be repeated, and the others wait for it
  private active = true;

  constructor(
    readonly pattern: string,
    readonly handler: Handler,
    readonly options: SubscriptionOptions & Repetition,
    private readonly parse: Parse<unknown>,
    private readonly once: () => void,
    private readonly failed: (error: Error, topic: string) => void,
  ) {
    this.segments = pattern.split(".");
  }

  offer(item: Item): void {
    this.queue.push(item);
    if (!this.working) this.work();
  }

  /** What waits is let go: it stays unfinished, and comes again. */
  close(): void {
    this.active = false;
    this.queue.length = 0;
  }

  /** As long as handlers return at once, all of the queue is handled at once. */
  private work(): void {
    this.working = true;
    while (this.queue.length && !this.resting) {
      const item = this.queue.shift()!;
      try {
        const payload = fitted(this.parse, item.payload, item.name);
        this.once();
        const value = this.handler(item.name, item.sender, payload, item.pending.handling.reader);
        if (isThenable(value)) {
          void this.wait(item, value);
          return;
        }
        this.done(item, value);
      } catch (thrown) {
        this.threw(item, thrown);
      }
    }
    this.working = false;
  }

  private done(item: Item, value: unknown): void {
    if (givesMany(value) && !item.pending.handling.reader) this.threw(item, new Refused(MANY));
    else item.pending.done({ value });
  }

  private async wait(item: Item, result: PromiseLike<unknown>): Promise<void> {
    try {
      const value = await result;
      if (this.active) this.done(item, value);
    } catch (thrown) {
      if (this.active) this.threw(item, thrown);
    }
    this.work();
  }

  private threw(item: Item, thrown: unknown): void {
    if (thrown instanceof Retry) {
      this.again(item, thrown.after);
      return;
    }
    const error = asError(thrown);
    if (!(error instanceof Unfit)) this.failed(error, item.name);
    const { retries, backoff } = this.options;
    if (item.pending.handling.durable && item.tries < retries && !(error instanceof Refused))
      this.again({ ...item, tries: item.tries + 1 }, Math.min(backoff * 2 ** item.tries, LONGEST_PAUSE));
    else item.pending.done({ error });
  }

  /** Give the handler this message again in `delay` seconds. */
  private again(item: Item, delay: number): void {
    if (this.options.ordered) {
      this.queue.unshift(item);
      this.resting = true;
    }
    setTimeout(() => {
      if (!this.active) return;
      if (!this.options.ordered) this.offer(item);
      else {
        this.resting = false;
        if (!this.working) this.work();
      }
    }, delay * 1000);
  }
}
