/**
 * Chooses which way to a peer to use, and which to try for. Pure policy, that of mmplatform/links/paths.py: a path weighs
 * what all but one of twenty of its round trips do not exceed plus 5 ms for each point of its cost, one that was given up
 * is left alone for a while, and a relayed path is kept warm beside a direct one.
 */

import type { RoundTrips } from "./roundtrips.js";

const MILLISECONDS_PER_COST = 5; // milliseconds of round trip that one point of cost weighs as much as
const MIN_GAIN = 10; // milliseconds that another path must weigh less than the active one to be moved to
const MAX_RATIO = 0.8; // of the active path's weight: another path that weighs more is not moved to
const MIN_DWELL = 60_000; // milliseconds between a move and the next one that gains nothing but a shorter round trip
const LEAST_DWELL = 5000; // the same to a path that is FAR_BETTER
const FAR_BETTER = 1 / 3; // of the active path's weight: another one that weighs no more is so
const HOLD = 60_000; // milliseconds for which a path that was given up for a costlier one is left alone; doubles
const LONGEST_HOLD = 960_000; // milliseconds
const FAR = 100; // milliseconds of round trip above which a path is measured before it takes over
const PROVEN = 40; // round trips that are measured of it

/** The numbers of one link that its rank depends on. */
export interface Path {
  readonly cost: number;
  readonly relayed: boolean;
  readonly trips: Pick<RoundTrips, "p95" | "longest" | "enough" | "count">;
  /** Until then it is not gone back to for being better alone. */
  readonly heldUntil: number;
}

/** An address that can be dialled from here; `signalled`: only while another link is up, to carry signals. */
export interface Way {
  readonly address: string;
  readonly cost: number;
  readonly relayed: boolean;
  readonly signalled: boolean;
}

export function weight({ trips, cost }: Path): number {
  return trips.p95 + cost * MILLISECONDS_PER_COST;
}

/** Whether it is a long way, and not measured often enough to take over from one that works. */
export function unproven({ trips }: Path): boolean {
  return trips.p95 > FAR && trips.count < PROVEN;
}

/** Whether it is a short way, or so well known that even its longest round trips speak for it. */
function proven(path: Path, active: Path): boolean {
  const { trips, cost } = path;
  if (trips.p95 <= FAR) return true;
  return trips.count >= PROVEN && trips.longest + cost * MILLISECONDS_PER_COST < weight(active);
}

/** Milliseconds for which a path that was given up so many times is not gone back to. */
export function hold(times: number): number {
  return Math.min(HOLD * 2 ** (times - 1), LONGEST_HOLD);
}

/** The path to use. `active` stays unless another is clearly better; `moved`: when it became the active one. */
export function best<P extends Path>(
  paths: readonly P[],
  active: P | undefined,
  now: number,
  moved: number,
): P | undefined {
  const ranked = [...paths].sort((a, b) => weight(a) - weight(b));
  if (!active || !paths.includes(active)) return ranked[0];
  const top = ranked.find((path) => path === active || path.heldUntil <= now)!;
  const limit = Math.min(weight(active) - MIN_GAIN, weight(active) * MAX_RATIO);
  if (top === active || weight(top) > limit || !proven(top, active)) return active;
  const dwell = weight(top) <= weight(active) * FAR_BETTER ? LEAST_DWELL : MIN_DWELL;
  return top.cost >= active.cost && (now - moved < dwell || !active.trips.enough) ? active : top;
}

/** What is to be dialled beside `active`: ways that may be better, or one to keep warm when there is none. */
export function wanted(ways: readonly Way[], paths: readonly Path[], active: Path): Way[] {
  const better = ways.filter(({ cost }) => cost < active.cost && !paths.some((path) => path.cost <= cost));
  if (better.length) return better;
  const bare = paths.length < 2 && !active.relayed;
  return bare ? ways.filter(({ relayed, signalled }) => relayed && !signalled) : [];
}

/** When to try again what failed; hole punching is left alone for longer each time. `random()` is 0 to 1. */
export class Retries {
  private readonly early = new Map<boolean, number>(); // how many links ended early, one after the other
  private readonly failures = new Map<boolean, { count: number; due: number }>(); // by `signalled`

  constructor(private readonly random: () => number) {}

  failed({ signalled }: Way, now: number): void {
    const count = this.failures.get(signalled)?.count ?? 0;
    const delay = signalled ? Math.min(10_000 * 3 ** count, 1_800_000) : Math.min(2000 * 2 ** count, 300_000);
    this.failures.set(signalled, { count: Math.min(count + 1, 30), due: now + delay * (1 - this.random() / 4) });
  }

  /** A link of that kind ended; one that was not `stable` is not made again at once. */
  ended(signalled: boolean, stable: boolean, now: number): void {
    const count = stable ? 0 : (this.early.get(signalled) ?? 0) + 1;
    this.early.set(signalled, Math.min(count, 30));
    this.failures.set(signalled, { count: 0, due: stable ? now : now + Math.min(250 * 2 ** count, 30_000) });
  }

  due({ signalled }: Way): number {
    return this.failures.get(signalled)?.due ?? 0;
  }

  /** The network changed, or the peer is somewhere else: all may be tried at once. */
  reset(): void {
    this.failures.clear();
    this.early.clear();
  }
}
