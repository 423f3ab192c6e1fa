/** The latest round trips of one link, in milliseconds, and what they say of it. Pure. */

const RECENT = 32; // round trips that count
const SHORTEST_OF = 4; // of them, the latest: the shortest of these is the way without any queue
const ENOUGH = 10; // from so many on, nine of ten are told apart from the slowest one
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

  /** What nine of ten take at most, losses on the way included; the shortest until enough are known, 0 when none is. */
  get p90(): number {
    if (!this.enough) return this.short.length ? Math.min(...this.short) : 0;
    const sorted = [...this.latest].sort((a, b) => a - b);
    return sorted[Math.ceil(sorted.length * 0.9) - 1]!;
  }

  get enough(): boolean {
    return this.latest.length >= ENOUGH;
  }
}
