/** One handler of one pattern: its queue, and what it makes of a message. */

import { asError, Retry } from "../errors.js";

/** `name` is `scope.topic`. */
export type Handler = (name: string, sender: string, payload: unknown) => unknown;

/** What the handlers of one message gave: the first value that is not undefined, or the first error. */
export interface Result<T = unknown> {
  readonly value?: T;
  readonly error?: Error;
}

export const DONE: Result<never> = {};
/** Nobody listens. */
export const NOBODY: Result<never> = {};

/** A message some of whose handlers are still at work. */
export class Pending {
  private remaining: number;
  private result: Result = DONE;

  constructor(
    subscribers: number,
    private readonly finished: (result: Result) => void,
  ) {
    this.remaining = subscribers;
  }

  done(result: Result): void {
    if (this.result === DONE && (result.value !== undefined || result.error)) this.result = result;
    if (--this.remaining === 0) this.finished(this.result);
  }
}

interface Item {
  name: string;
  sender: string;
  payload: unknown;
  pending: Pending;
}

/** Handles one message after the other, in order. `failed` is told of handlers that throw. */
export class Subscriber {
  readonly segments: string[];
  private readonly queue: Item[] = [];
  private working = false;
  private active = true;

  constructor(
    readonly pattern: string,
    readonly handler: Handler,
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
    while (this.queue.length) {
      const item = this.queue.shift()!;
      this.once();
      try {
        const value = this.handler(item.name, item.sender, item.payload);
        if (value instanceof Promise) {
          void this.wait(item, value);
          return;
        }
        item.pending.done({ value });
      } catch (thrown) {
        this.threw(item, thrown);
      }
    }
    this.working = false;
  }

  private async wait(item: Item, result: Promise<unknown>): Promise<void> {
    try {
      const value = await result;
      if (this.active) item.pending.done({ value });
    } catch (thrown) {
      if (this.active) this.threw(item, thrown);
    }
    this.work();
  }

  private threw(item: Item, thrown: unknown): void {
    if (thrown instanceof Retry) {
      setTimeout(() => this.active && this.offer(item), thrown.after * 1000);
      return;
    }
    const error = asError(thrown);
    this.failed(error, item.name);
    item.pending.done({ error });
  }
}
