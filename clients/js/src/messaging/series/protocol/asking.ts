/**
 * The side that asks for a series: which pulls it sends, and what their answers say. Two pulls are outstanding while it
 * reads, so that no round trip is waited for between batches.
 */

import { EMPTY } from "../../../bytes.js";
import { decodeBatch, encodePull, encodeStop, KEEP, type ReplyBatch } from "./wire.js";

export const AHEAD = 2; // pulls outstanding while the reader reads
const PAUSE = 100; // milliseconds between two batches with nothing in them: an honest peer sends one every 10 s

/** `series` is a name that this node has not used yet. */
export class Asking {
  /** The other side has ended the series, or knows nothing of it. */
  over = false;
  private number = 1; // of the latest pull
  private outstanding = 0;
  private emptied = -Infinity; // when a batch had nothing in it

  constructor(private readonly series: number) {}

  /** The pull that asks. */
  first(payload: Uint8Array): Uint8Array {
    this.outstanding++;
    return encodePull({ series: this.series, number: 1, payload });
  }

  /** The pulls to send so that AHEAD are outstanding. */
  ahead(): Uint8Array[] {
    const pulls: Uint8Array[] = [];
    for (; !this.over && this.outstanding < AHEAD; this.outstanding++) {
      pulls.push(encodePull({ series: this.series, number: ++this.number, payload: EMPTY }));
    }
    return pulls;
  }

  /** The pull that says that a reader, however long it takes over a reply, is there. */
  keep(): Uint8Array {
    return encodePull({ series: this.series, number: KEEP, payload: EMPTY });
  }

  /** What a pull was answered. Throws CodecError. */
  answered(reply: Uint8Array): ReplyBatch {
    this.outstanding--;
    const batch = decodeBatch(reply);
    this.over = batch.ended;
    return batch;
  }

  /** Milliseconds to wait behind a batch with nothing in it: who sends them one after the other is held up. */
  pause(now: number): number {
    const pause = Math.max(0, this.emptied + PAUSE - now);
    this.emptied = now + pause;
    return pause;
  }

  /** The message that nobody reads on; undefined when the other side has ended the series. */
  stop(): Uint8Array | undefined {
    return this.over ? undefined : encodeStop(this.series);
  }
}
