/** One generator that runs, no further ahead of its reader than a batch. */

import { encode } from "../../codec.js";
import { asError, InvalidPayload, Refused } from "../../errors.js";
import type { Scope } from "../../identity/circles.js";
import type { SignId } from "../../identity/keys.js";
import { MAX_PAYLOAD } from "../../message.js";
import type { InHand } from "../dispatch.js";
import { PUBLIC_SIZE } from "../options.js";
import type { Result } from "../subscriber.js";
import type { Placed } from "./protocol/places.js";
import { Serving } from "./protocol/serving.js";
import { encodeBatch, HEAD, SIZE } from "./protocol/wire.js";
import { nextTurn } from "./turns.js";

const CLOGGED = 100; // milliseconds until a peer that did not read is looked at again
const UNREAD = "overloaded: too much waits to be read";

/** What a series needs of its server. */
export interface SeriesHost {
  /** Wait for a turn of the loop in which no other series makes a batch: generators may yield without a pause. */
  turn(): Promise<void>;
  /** Whether so many bytes more may wait for pulls of this peer. */
  holds(size: number): boolean;
  /** The series is over. */
  over(): void;
  failed(error: Error, topic: string): void;
}

/** `reader` is aborted once nobody reads on, for a generator that waits for something. */
export class ServedSeries implements Placed {
  private readonly serving = new Serving<InHand>(performance.now());
  private closed = false;
  private armed = false;
  private roomThere: () => void = () => {};

  constructor(
    readonly sender: SignId,
    readonly scope: Scope,
    readonly party: string,
    private readonly name: string,
    private readonly reader: AbortController,
    private readonly host: SeriesHost,
  ) {}

  /** Its generator is closed. */
  done = false;

  get pulled(): number {
    return this.serving.pulled;
  }

  get open(): boolean {
    return !this.closed;
  }

  get held(): number {
    return this.serving.size;
  }

  /** No pull of it is taken any more, and none of its replies waits. */
  get over(): boolean {
    return this.closed || this.serving.over;
  }

  /** Answer with batch `number`, at once or later. */
  pull(number: number, asked: InHand): void {
    if (this.serving.pull(number, asked, performance.now())) this.answer();
    else asked.finish({ error: new Refused("bad-payload") });
  }

  keep(): void {
    this.serving.keep(performance.now());
  }

  /** Answer a pull that has waited for long; close the series when nobody pulls any more. */
  look(): void {
    const { waiting } = this.serving;
    const todo = waiting && !waiting.wanted() ? "close" : this.serving.look(performance.now());
    if (todo === "close") this.close();
    else if (todo === "answer") waiting?.finish(this.taken());
  }

  /** Have the generator end, as nobody reads on; pulls that wait are told that it has, or `error`. */
  close(error?: Error): void {
    this.closed = true;
    this.serving.end();
    const pulls = this.serving.abandon();
    this.host.over();
    this.roomThere();
    this.reader.abort();
    const end: Result<Uint8Array> = error ? { error } : { value: encodeBatch({ ended: true, replies: [] }) };
    for (const pull of pulls) pull.finish(end);
  }

  /** Resolves once the generator is closed. */
  async run(generator: AsyncGenerator): Promise<void> {
    await this.host.turn();
    try {
      if (!this.closed) await this.all(generator);
      this.serving.end();
    } catch (thrown) {
      const error = asError(thrown);
      this.serving.end(error);
      if (!(this.closed && error.name === "AbortError")) this.host.failed(error, this.name);
    }
    this.done = true;
    this.arm();
  }

  private async all(generator: AsyncGenerator): Promise<void> {
    for await (const value of generator) {
      if (!this.closed) await this.add(this.encoded(value));
      if (this.closed) break; // closes the generator
    }
  }

  private encoded(value: unknown): Uint8Array {
    const data = encode(value);
    const most = this.scope === "public" ? PUBLIC_SIZE : MAX_PAYLOAD - HEAD; // with its batch it is one reply
    if (data.length > most) throw new InvalidPayload(`${data.length} bytes in one of many replies, ${most} at most`);
    return data;
  }

  private async add(data: Uint8Array): Promise<void> {
    if (!this.serving.fits(data.length)) {
      this.answer();
      while (!this.serving.empty) await new Promise<void>((resolve) => (this.roomThere = resolve));
      await this.host.turn();
      if (this.closed) return;
    }
    if (data.length > SIZE && !this.serving.waiting && !this.host.holds(data.length)) throw new Refused(UNREAD);
    this.serving.add(data);
    this.arm();
  }

  /** Answer a pull in the next turn of the loop, with all that was yielded by then. */
  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    void nextTurn().then(() => {
      this.armed = false;
      this.answer();
    });
  }

  private answer(): void {
    for (let pull = this.serving.due; pull && !this.armed; pull = this.serving.due) {
      if (pull.clogged()) this.answerLater();
      else pull.finish(this.taken());
    }
  }

  private answerLater(): void {
    this.armed = true;
    setTimeout(() => {
      this.armed = false;
      this.answer();
    }, CLOGGED);
  }

  private taken(): Result<Uint8Array> {
    const taken = this.serving.take(performance.now());
    if (this.serving.over) this.host.over();
    this.roomThere();
    return taken;
  }
}
