/**
 * What one generator has yielded and nobody has pulled yet, and the pulls that wait for more: which of them is answered
 * when, and with what. Times are milliseconds. `P` is who waits for the answer to a pull.
 */

import type { Result } from "../../subscriber.js";
import { encodeBatch, MOST, SIZE } from "./wire.js";

export const EARLY = 8; // pulls of one series that wait
export const ANSWERED = 10_000; // after which a pull is answered with nothing
export const LEASE = 30_000; // without a pull, after which nobody reads on
export const LONGEST = 3_600_000; // that a reader may take over what it has

export class Serving<P> {
  /** When it was last asked for a batch. */
  pulled: number;
  /** Bytes of what waits. */
  size = 0;
  private replies: Uint8Array[] = [];
  private readonly pulls = new Map<number, P>();
  private next = 1; // the number of the next batch
  private heard: number;
  private since: number; // when the next pull began to wait
  private ended = false;
  private error: Error | undefined; // what ends it, behind all replies
  private told = false; // the end

  constructor(now: number) {
    this.pulled = this.heard = this.since = now;
  }

  /** Take a pull; false for a number that was answered, waits already, or is too far ahead. */
  pull(number: number, asked: P, now: number): boolean {
    if (number < this.next || number >= this.next + EARLY || this.pulls.has(number)) return false;
    this.pulled = this.heard = now;
    this.pulls.set(number, asked);
    if (number === this.next) this.since = now;
    return true;
  }

  /** The peer is there, and reads on when it can. */
  keep(now: number): void {
    this.heard = now;
  }

  get empty(): boolean {
    return !this.replies.length;
  }

  /** Whether a batch has room for so many more bytes. */
  fits(size: number): boolean {
    return this.empty || (this.size + size <= SIZE && this.replies.length < MOST);
  }

  add(reply: Uint8Array): void {
    this.replies.push(reply);
    this.size += reply.length;
  }

  /** Nothing more is yielded; `error` comes behind what was. Only the first end counts. */
  end(error?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
  }

  /** Forget what waits, as nobody reads on; those whose pulls wait. */
  abandon(): P[] {
    const pulls = [...this.pulls.values()];
    this.pulls.clear();
    this.drop();
    return pulls;
  }

  /** Who waits for the next batch. */
  get waiting(): P | undefined {
    return this.pulls.get(this.next);
  }

  /** Who is to be answered now, with `take`: there is something to tell. */
  get due(): P | undefined {
    return this.replies.length || this.ended ? this.waiting : undefined;
  }

  /** The next batch, or the error that ends the series. */
  take(now: number): Result<Uint8Array> {
    this.pulls.delete(this.next++);
    this.since = now;
    const { replies, ended, error } = this;
    this.told = ended && (!error || !replies.length);
    this.drop();
    if (error && !replies.length) return { error };
    return { value: encodeBatch({ ended: this.told, replies }) };
  }

  /** Whether all that it had was taken, its end included. */
  get over(): boolean {
    return this.told;
  }

  /** What is to be done by now: answer the next pull with nothing, or close, as nobody pulls any more. */
  look(now: number): "answer" | "close" | undefined {
    if (this.pulls.has(this.next)) return now - this.since >= ANSWERED ? "answer" : undefined;
    return now - this.heard >= LEASE || now - this.pulled >= LONGEST ? "close" : undefined;
  }

  private drop(): void {
    this.replies = [];
    this.size = 0;
  }
}
