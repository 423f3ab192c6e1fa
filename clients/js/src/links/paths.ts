/**
 * Which way to a peer to use, and which to try for. Pure policy, that of mmplatform/links/paths.py: a path weighs its
 * round trip plus 5 ms for each point of its cost, and one over a relay is kept warm beside a direct one.
 */

export const RELAYED = 40; // the cost of paths over a relay
const PER_COST = 5; // milliseconds
const MARGIN = 10; // milliseconds, and
const RATIO = 0.8; // of the present weight: a path that is no better than by both is not moved to
const DWELL = 5000; // milliseconds until a move for the sake of the round trip alone may follow another one

/** What is known of one link that is up; `rtt` is 0 when not measured. */
export interface Path {
  readonly cost: number;
  readonly rtt: number;
}

/** An address that can be dialled from here; `overLink`: only while another link is up. */
export interface Way {
  readonly address: string;
  readonly cost: number;
  readonly overLink: boolean;
}

export function weight({ rtt, cost }: Path): number {
  return rtt + cost * PER_COST;
}

/** The path to use. `active` stays unless another is clearly better; `moved`: when it became the active one. */
export function best<P extends Path>(paths: readonly P[], active: P | undefined, now: number, moved: number): P | undefined {
  const [top] = [...paths].sort((a, b) => weight(a) - weight(b));
  if (!top || !active || !paths.includes(active)) return top;
  if (weight(top) > Math.min(weight(active) - MARGIN, weight(active) * RATIO)) return active;
  return top.cost >= active.cost && now - moved < DWELL ? active : top;
}

/** What is to be dialled beside `active`: ways that may be better, or one to keep warm when there is none. */
export function wanted(ways: readonly Way[], paths: readonly Path[], active: Path): Way[] {
  const better = ways.filter(({ cost }) => cost < active.cost && !paths.some((path) => path.cost <= cost));
  if (better.length) return better;
  const bare = paths.length < 2 && active.cost < RELAYED;
  return bare ? ways.filter(({ cost, overLink }) => cost >= RELAYED && !overLink) : [];
}

/** When to try again what failed; hole punching is left alone for longer each time. `random()` is 0 to 1. */
export class Retries {
  private readonly early = new Map<boolean, number>(); // how many links ended early, one after the other
  private readonly failures = new Map<boolean, { count: number; due: number }>(); // by `overLink`

  constructor(private readonly random: () => number) {}

  failed({ overLink }: Way, now: number): void {
    const count = this.failures.get(overLink)?.count ?? 0;
    const delay = overLink ? Math.min(10_000 * 3 ** count, 1_800_000) : Math.min(2000 * 2 ** count, 300_000);
    this.failures.set(overLink, { count: Math.min(count + 1, 30), due: now + delay * (1 - this.random() / 4) });
  }

  /** A link of that kind ended; one that was not `stable` is not made again at once. */
  ended(overLink: boolean, stable: boolean, now: number): void {
    const count = stable ? 0 : (this.early.get(overLink) ?? 0) + 1;
    this.early.set(overLink, Math.min(count, 30));
    this.failures.set(overLink, { count: 0, due: stable ? now : now + Math.min(250 * 2 ** count, 30_000) });
  }

  due({ overLink }: Way): number {
    return this.failures.get(overLink)?.due ?? 0;
  }

  /** The network changed, or the peer is somewhere else: all may be tried at once. */
  reset(): void {
    this.failures.clear();
    this.early.clear();
  }
}
