/** From the addresses of a peer to a link: they are tried one after the other, staggered, and the first that answers wins. */

import { asError, Unreachable } from "../errors.js";
import type { SignId } from "../identity/keys.js";
import { MAX_ADDRESSES } from "../identity/nodeinfo.js";
import { dialable, type Transport } from "../plugins/transport.js";
import type { LinkFactory, LinkWatch } from "./factory.js";
import type { Link } from "./link.js";

const STAGGER = 250; // milliseconds between two attempts, at most (the same as RFC 8305 recommends)
const SPREAD = 1_500; // milliseconds within which every attempt has started: the only address that lives may be the last

export class Dialer {
  constructor(
    private readonly factory: LinkFactory,
    private readonly transports: readonly Transport[],
  ) {}

  /** A link to `peer` over the first of the addresses that answers. Throws Unreachable with what each of them said. */
  async dial(peer: SignId, addresses: readonly string[]): Promise<Link> {
    const ways = dialable(addresses.slice(0, MAX_ADDRESSES), this.transports);
    const stagger = Math.min(STAGGER, SPREAD / Math.max(ways.length - 1, 1));
    if (!ways.length)
      throw new Unreachable(
        `no address of the peer can be dialled from here (it gave: ${addresses.join(", ") || "none"})`,
      );
    const race = new Race();
    const attempts = ways.map(async ({ address, transport }, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * stagger));
      if (race.won) throw new Unreachable("not needed");
      return this.factory.open(peer, address, transport, race);
    });
    try {
      return await Promise.any(attempts);
    } catch (error) {
      throw error instanceof AggregateError
        ? new Unreachable(error.errors.map((one) => asError(one).message).join("; "))
        : error;
    }
  }
}

/** Attempts to reach one peer, of which one is enough. */
class Race implements LinkWatch {
  won = false;
  private readonly links: Link[] = [];

  started(link: Link): void {
    this.links.push(link);
  }

  /** The others end before they become links: a second link to the peer would replace the first. */
  opened(link: Link): void {
    this.won = true;
    for (const other of this.links) if (other !== link) other.connection.abort();
  }
}
