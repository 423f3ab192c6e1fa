/**
 * Reads a series: the replies to one request, as they come. Each pull is a request, which survives cuts and is answered
 * once; that nobody pulls holds up the other side. docs/protocol/series.rst fixes what is sent.
 */

import { random } from "../../bytes.js";
import { CodecError, NoResponders, RequestFailed } from "../../errors.js";
import { deadline } from "./deadline.js";
import { Asking } from "./protocol/asking.js";
import type { ReplyBatch } from "./protocol/wire.js";

const KEPT = 10_000; // milliseconds between two times that a reader says that it is there
const PULL_TIMEOUT = 30_000; // milliseconds for which a pull waits at least: the other side answers sooner, unless it stands

/** What a series goes over. */
export interface SeriesUpstream {
  /**
   * Send a request, and give its reply; `timeout` and `patience`, for a peer that is not reached, are in milliseconds.
   * Once `signal` is aborted nobody waits for it.
   */
  ask(pull: Uint8Array, timeout: number, signal: AbortSignal, patience?: number): Promise<Uint8Array>;
  /** Tell the other side that nobody reads on. */
  stop(payload: Uint8Array): Promise<unknown>;
}

/**
 * The replies to `payload`, in bytes. `timeout` is the milliseconds to wait for each. Throws what a request throws, between
 * two replies, too.
 */
export async function* readSeries(
  upstream: SeriesUpstream,
  payload: Uint8Array,
  timeout: number,
): AsyncGenerator<Uint8Array, void, void> {
  const reading = new Reading(upstream, timeout);
  try {
    let batch = await reading.open(payload);
    for (;;) {
      reading.pullAhead(); // the next ones come while the reader is at these
      yield* batch.replies;
      if (batch.ended) return;
      batch = await reading.following();
    }
  } finally {
    reading.close();
  }
}

/** A series that is being read. */
class Reading {
  private readonly asking = new Asking(drawn());
  private readonly pulls: Promise<Uint8Array>[] = [];
  private readonly left = new AbortController();
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly upstream: SeriesUpstream,
    private readonly timeout: number,
  ) {}

  /** Ask, and wait for the first answer. */
  async open(payload: Uint8Array): Promise<ReplyBatch> {
    const batch = await this.read(this.pull(this.asking.first(payload), this.timeout));
    if (!batch.ended) this.timer = setInterval(() => this.keep(), KEPT);
    return batch;
  }

  pullAhead(): void {
    for (const pull of this.asking.ahead())
      this.pulls.push(this.pull(pull, Math.max(PULL_TIMEOUT, this.timeout), this.timeout));
  }

  /** Wait for a batch that is not empty, or is the last one. */
  async following(): Promise<ReplyBatch> {
    const late = deadline(this.timeout);
    try {
      for (;;) {
        this.pullAhead();
        const batch = await Promise.race([this.read(this.pulls.shift()!), late.passed]);
        if (batch.replies.length || batch.ended) return batch;
        const pause = this.asking.pause(performance.now());
        if (pause) await Promise.race([rest(pause), late.passed]);
      }
    } finally {
      late.cancel();
    }
  }

  /** Wait for no pull any more, and tell the other side; else it notices after a while. */
  close(): void {
    clearInterval(this.timer);
    this.left.abort();
    const stop = this.asking.stop();
    if (stop) this.upstream.stop(stop).catch(() => {});
  }

  private async read(reply: Promise<Uint8Array>): Promise<ReplyBatch> {
    try {
      return this.asking.answered(await reply);
    } catch (error) {
      if (error instanceof CodecError) throw new RequestFailed(`the replies cannot be decoded: ${error.message}`);
      if (error instanceof RequestFailed || error instanceof NoResponders) this.asking.over = true;
      throw error;
    }
  }

  /** An error of it is thrown where it is awaited, behind the replies that are here already. */
  private pull(pull: Uint8Array, timeout: number, patience?: number): Promise<Uint8Array> {
    const reply = this.upstream.ask(pull, timeout, this.left.signal, patience);
    reply.catch(() => {});
    return reply;
  }

  private keep(): void {
    if (!this.asking.over)
      this.pull(this.asking.keep(), PULL_TIMEOUT).catch((error: unknown) => {
        if (error instanceof RequestFailed) clearInterval(this.timer); // the other side knows nothing of it
      });
  }
}

function rest(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A name for a series: 53 bits. */
function drawn(): number {
  return Number(new DataView(random(8).buffer).getBigUint64(0) >> 11n);
}
