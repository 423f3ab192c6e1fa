/** How often a peer may have an offer answered: a bucket of tokens each. */

const BURST = 10; // offers at once,
const RATE = 1; // and so many a second in the long run
const TRUSTED = 4; // times as many of a trusted peer: friends disconnect and connect again
const MAX_PEERS = 1024; // that are remembered; the oldest goes first

/** Pure: `now` is an argument, in seconds. */
export class Rates {
  private readonly buckets = new Map<string, { tokens: number; when: number }>();

  /** Whether one more is admitted; counts it. */
  admit(peer: string, now: number, trusted: boolean = false): boolean {
    const times = trusted ? TRUSTED : 1;
    const { tokens: left, when } = this.buckets.get(peer) ?? { tokens: BURST * times, when: now };
    const tokens = Math.min(BURST * times, left + (now - when) * RATE * times);
    this.buckets.delete(peer);
    if (this.buckets.size >= MAX_PEERS) this.buckets.delete(this.buckets.keys().next().value!);
    this.buckets.set(peer, { tokens: tokens >= 1 ? tokens - 1 : tokens, when: now });
    return tokens >= 1;
  }
}
