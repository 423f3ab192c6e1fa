/** Places for series: how many a peer, a network and all strangers have open, who gives way, and what is held for them. */

import type { Scope } from "../../../identity/circles.js";

export const OF_PEER = 256; // series that are open for one friend or device
export const OF_STRANGER = 8; // the same for one stranger
export const OF_NETWORK = 64; // for all strangers of a network, or of a relay
export const OF_STRANGERS = 512; // for all of them together
const MIB = 1024 * 1024;
export const HELD_OF_PEER = 128 * MIB; // bytes of replies that wait for the pulls of one friend or device
export const HELD_OF_NETWORK = 10 * MIB; // the same for all strangers of a network, or of a relay
export const HELD_OF_STRANGERS = 80 * MIB; // for all of them together

/** A series that has a place until its generator is closed. */
export interface Placed {
  readonly sender: string;
  readonly scope: Scope;
  /** The same for all strangers of its network. */
  readonly party: string;
  /** When it was last asked for a batch. */
  readonly pulled: number;
  /** Whether it can give way; else it is about to. */
  readonly open: boolean;
  /** Bytes of its replies that wait. */
  readonly held: number;
}

/** Who has a place. Where there is none, one of who has most gives way, of the same network if that is full. */
export class SeriesPlaces<G extends Placed> {
  private readonly guests = new Set<G>();

  /** Whether a sender has as many as it may. */
  full(sender: string, scope: Scope): boolean {
    return this.of(sender) >= (scope === "public" ? OF_STRANGER : OF_PEER);
  }

  take(guest: G): void {
    this.guests.add(guest);
  }

  leave(guest: G): void {
    this.guests.delete(guest);
  }

  /** Whether another one has to give way before a series of a stranger may begin. */
  needsRoom(scope: Scope, party: string): boolean {
    if (scope !== "public") return false;
    return this.crowded(party) || this.strangers().length >= OF_STRANGERS;
  }

  /**
   * Who gives way to one of `sender`: of the sender with most, what was not pulled for longest; undefined if nobody has
   * more than `sender` has.
   */
  loser(sender: string, party: string): G | undefined {
    const crowded = this.crowded(party);
    const guests = this.strangers().filter((one) => one.open && (!crowded || one.party === party));
    const counts = this.counts();
    const most = Math.max(0, ...guests.map((one) => counts.get(one.sender) ?? 0));
    if (most <= (counts.get(sender) ?? 0)) return undefined;
    return guests.filter((one) => counts.get(one.sender) === most).sort((a, b) => a.pulled - b.pulled)[0];
  }

  /** Whether so many bytes more may wait for pulls of the peer of `guest`. */
  holds({ sender, scope, party }: G, size: number): boolean {
    if (scope !== "public") return held(this.guests, (one) => one.sender === sender) + size <= HELD_OF_PEER;
    const strangers = this.strangers();
    if (held(strangers) + size > HELD_OF_STRANGERS) return false;
    return held(strangers, (one) => one.party === party) + size <= HELD_OF_NETWORK;
  }

  private of(sender: string): number {
    return this.counts().get(sender) ?? 0;
  }

  private counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { sender } of this.guests) counts.set(sender, (counts.get(sender) ?? 0) + 1);
    return counts;
  }

  private strangers(): G[] {
    return [...this.guests].filter(({ scope }) => scope === "public");
  }

  private crowded(party: string): boolean {
    return this.strangers().filter((one) => one.party === party).length >= OF_NETWORK;
  }
}

function held<G extends Placed>(guests: Iterable<G>, counts: (guest: G) => boolean = () => true): number {
  return Array.from(guests)
    .filter(counts)
    .reduce((sum, guest) => sum + guest.held, 0);
}
