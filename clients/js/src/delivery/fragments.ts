/** Puts large values together from consecutive slices, within a memory budget shared by all peers. */

import { joined } from "../bytes.js";
import { ProtocolError } from "../errors.js";
import { TOO_LARGE } from "./wire.js";

/** Bytes that values in assembly may hold together. */
export class Budget {
  used = 0;

  constructor(readonly limit: number) {}

  /** Throws ProtocolError("overloaded") when the budget is spent; the peer comes again later. */
  reserve(size: number): void {
    if (this.used + size > this.limit) throw new ProtocolError("overloaded", "too many large messages at once");
    this.used += size;
  }

  release(size: number): void {
    this.used -= size;
  }
}

/**
 * One value in assembly. Memory grows with what has arrived, never with what was announced. `largest` says how many bytes
 * a value may have; it is asked at the first slice.
 */
export class Assembler {
  private slices: Uint8Array[] = [];
  private total = 0;
  /** Bytes held so far. */
  held = 0;

  constructor(
    private readonly budget: Budget,
    private readonly largest: () => number,
  ) {}

  /** Take one slice; the whole value once its last byte is there. What of it is already held is ignored. */
  add(offset: number, total: number, data: Uint8Array): Uint8Array | undefined {
    const end = offset + data.length;
    if (!data.length || end > total || (this.total && total !== this.total) || offset > this.held) {
      throw new ProtocolError("bad-piece", `${data.length} bytes at ${offset} of ${total}, ${this.held} are held`);
    }
    if (!this.total && total > this.largest()) throw new ProtocolError(TOO_LARGE, `${total} bytes are too large`);
    const fresh = data.slice(this.held - offset); // another link may have cut it elsewhere
    if (!fresh.length) return undefined;
    this.budget.reserve(fresh.length);
    this.total = total;
    this.slices.push(fresh);
    this.held += fresh.length;
    return this.held < total ? undefined : this.putTogether();
  }

  /** Forget what is held. */
  clear(): void {
    this.budget.release(this.held);
    this.slices = [];
    this.held = this.total = 0;
  }

  private putTogether(): Uint8Array {
    const whole = joined(this.slices);
    this.clear();
    return whole;
  }
}
