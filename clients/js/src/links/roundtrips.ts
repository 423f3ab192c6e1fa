/** The latest round trips of one link, in milliseconds, and what they say of it. Pure. */

const RECENT = 64; // round trips that count: of fewer, a loss of 15 % is often not seen
const SHORTEST_OF = 4; // of them, the latest: the shortest of these is the way without any queue
const ENOUGH = 10; // from so many on, more than the shortest is told
const SLOW = 20; // of so many one may be slow for reasons of its own; of fewer, too
const QUEUED = 64 * 1024; // bytes that went meanwhile, above which a round trip measures the queue and not the way

export class RoundTrips {
  private readonly latest: number[] = [];
  private readonly short: number[] = [];

  /** `moved`: bytes that went over the link meanwhile. */
  add(trip: number, moved: number = 0): void {
    this.short.push(trip);
    if (this.short.length > SHORTEST_OF) this.short.shift();
    if (moved > QUEUED) return;
    this.latest.push(trip);
    if (this.latest.length > RECENT) this.latest.shift();
  }

  /** How many count. */
  get count(): number {
    return this.latest.length;
  }

  /** What all but one of twenty take at most, losses included; the shortest until enough are known, 0 when none is. */
  get p95(): number {
    if (!this.enough) return this.short.length ? Math.min(...this.short) : 0;
    const sorted = [...this.latest].sort((a, b) => b - a);
    return sorted[Math.max(1, Math.floor(sorted.length / SLOW))]!;
  }

  /** The longest but one, as any path may have a bad moment; 0 when none was measured. */
  get longest(): number {
    const sorted = [...this.latest].sort((a, b) => b - a);
    return sorted[1] ?? sorted[0] ?? 0;
  }

  get enough(): boolean {
    return this.count >= ENOUGH;
  }
}
