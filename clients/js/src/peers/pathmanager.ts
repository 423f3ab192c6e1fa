/**
 * Keeps the best path to a peer in use: while a link is up, better ways are dialled in the background and one over a relay
 * is kept warm; the link in use is watched while it owes an answer, and left when it falls silent and another one does not.
 */

import type { Link } from "../links/link.js";
import { best, hold, Retries, unproven, type Way, wanted } from "../links/paths.js";
import type { Exchange } from "./exchange.js";

const LOOK_EVERY = 200; // milliseconds between two looks at a link that owes an answer
const ANSWER_WITHIN = 400; // milliseconds without an answer after which every link is asked whether it is there
const LEAVE_AFTER = 400; // milliseconds later at which the link in use is left, when another one answered and it did not
const ROUNDS = 3; // round trips that ANSWER_WITHIN and LEAVE_AFTER are at least
const DIALLED_WAITS = 1500; // milliseconds the end that was dialled leaves to the other one to improve things
const COMPARE_EVERY = 15_000; // milliseconds between two comparisons of links that are up
const SAMPLE_EVERY = 1000; // milliseconds between two of them while something on the links wants an answer
const LONGEST_SLACK = 2000; // milliseconds that a link in use is left to be silent for at most, for its round trips
const STABLE = 5000; // milliseconds: a link that was lost sooner is not made again at once
const LIFETIME = 3_600_000; // milliseconds after which a link that is kept warm is made anew
export const REPLACED = "replaced"; // the reason for closing a link that is

/** The links to one peer. */
export interface PeerLinks {
  readonly link: Link | undefined;
  readonly exchange: Exchange;
  /** All that are up. */
  readonly ready: readonly Link[];
  /** Whether we may dial it unasked. */
  readonly known: boolean;
  ways(): Way[];
  dial(ways: Way[]): Promise<Link>;
  /** Go on over `link`: what is not acknowledged is sent again. */
  use(link: Link): void;
}

export class PathManager {
  private readonly retries = new Retries(Math.random);
  private dialling = false;
  private moved = 0;
  private measured = 0;
  private givenUp = { times: 0, until: 0 }; // the direct way, for a relay
  private probed = 0;
  private answers = new Map<Link, number>(); // what each link had brought when all were asked
  private planned: ReturnType<typeof setTimeout> | undefined;
  private looking: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly peer: PeerLinks) {}

  /** Another link is in use now. */
  chosen(): void {
    this.moved = performance.now();
    this.probed = 0;
    this.planIn(0);
  }

  /** Another link is up: compare. */
  joined(): void {
    for (const link of this.peer.ready) if (!link.relayed) link.heldUntil = this.givenUp.until;
    this.measure();
  }

  /** A link is gone, whichever. */
  lost(link: Link): void {
    const now = performance.now();
    this.retries.ended(!link.relayed, now - link.opened >= STABLE, now);
    if (this.peer.link) this.planIn(0);
    else this.stop();
  }

  /** Something went out over the link in use that wants an answer. */
  requestSent(): void {
    this.looking ??= setInterval(() => this.look(), LOOK_EVERY);
  }

  /** The peer speaks over another link than we do: it may know why. */
  frameArrivedElsewhere(): void {
    const { link: active } = this.peer;
    if (!active) return;
    active.owesSince ||= performance.now();
    this.requestSent();
  }

  /** The network changed, or there is news of the peer. */
  peerMayHaveMoved(): void {
    this.retries.reset();
    if (this.peer.link) this.planIn(0);
  }

  /** No link is up, or nothing is to happen any more. */
  stop(): void {
    clearTimeout(this.planned);
    clearInterval(this.looking);
    this.looking = undefined;
  }

  // Planning.

  private planIn(delay: number): void {
    clearTimeout(this.planned);
    this.planned = setTimeout(() => this.plan(), delay);
  }

  private plan(): void {
    const { link: active, ready } = this.peer;
    if (!active?.ready) return;
    const now = performance.now();
    for (const link of ready) if (link !== active && link.dialled && now - link.opened > LIFETIME) link.close(REPLACED);
    if (ready.length > 1)
      this.planned = setTimeout(() => this.measure(), ready.some(unproven) ? LOOK_EVERY : COMPARE_EVERY);
    if (this.dialling || !(active.dialled || this.peer.known)) return;
    const ways = wanted(this.peer.ways(), ready, active);
    if (!ways.length) return;
    const patience = active.dialled ? 0 : active.opened + DIALLED_WAITS - now;
    const wait = Math.max(patience, Math.min(...ways.map((way) => this.retries.due(way))) - now);
    if (wait > 0) this.planIn(wait);
    else void this.improve(ways.filter((way) => this.retries.due(way) <= now));
  }

  private async improve(ways: Way[]): Promise<void> {
    this.dialling = true;
    try {
      await this.peer.dial(ways);
    } catch {
      for (const way of ways) this.retries.failed(way, performance.now());
    }
    this.dialling = false;
    if (this.peer.link) this.planIn(0);
  }

  /** Take the round trip of every link, then compare. */
  private measure(): void {
    this.measured = performance.now();
    void Promise.allSettled(this.peer.ready.map((link) => link.ping())).then(() => this.compare());
  }

  private compare(): void {
    const { link: active, ready } = this.peer;
    if (!active) return;
    const now = performance.now();
    const top = best(ready, active, now, this.moved);
    if (!top || top === active) {
      this.planIn(0);
      return;
    }
    if (active.cost < top.cost) {
      const times = this.givenUp.times + 1;
      this.givenUp = { times, until: now + hold(times) };
      active.heldUntil = this.givenUp.until;
    }
    this.peer.use(top);
  }

  // Watching.

  private look(): void {
    const { link: active, ready } = this.peer;
    if (ready.length > 1 && performance.now() - this.measured >= SAMPLE_EVERY) this.measure();
    if (!active?.owesSince) {
      clearInterval(this.looking);
      this.looking = undefined;
      this.probed = 0;
      return;
    }
    const now = performance.now();
    const slack = Math.min(ROUNDS * active.trips.p95, LONGEST_SLACK);
    if (this.probed < active.owesSince) {
      if (now - active.owesSince < Math.max(ANSWER_WITHIN, slack)) return;
      this.probed = now;
      this.answers = new Map(ready.map((link) => [link, link.framesIn]));
      for (const link of ready) link.ping().catch(() => {});
    } else if (now - this.probed >= Math.max(LEAVE_AFTER, slack)) {
      const others = ready.filter((link) => link !== active && link.framesIn > (this.answers.get(link) ?? Infinity));
      const other = best(others, undefined, now, this.moved);
      if (!other) return;
      this.peer.use(other);
      this.peer.exchange.announceLink();
      active.close("silent");
    }
  }
}
