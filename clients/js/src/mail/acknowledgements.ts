/** Acknowledgements by mail, for senders that are away. */

import type { SignId } from "../identity/keys.js";
import type { Peers } from "../peers/registry.js";
import { type Depositor, LONGEST_WAIT } from "./depositing.js";

const GATHER = 50; // milliseconds that an acknowledgement by mail waits for more

export class MailedAcks {
  private readonly leaving = new Map<SignId, Promise<void>>();

  constructor(
    private readonly peers: Peers,
    private readonly depositor: Depositor,
  ) {}

  /** Acknowledge all of the peer that is handled; one envelope for all that is taken in meanwhile. Throws what its last relay said. */
  leave(peer: SignId): Promise<void> {
    const underWay = this.leaving.get(peer);
    if (underWay) return underWay;
    const left = new Promise((resolve) => setTimeout(resolve, GATHER)).then(() => {
      this.leaving.delete(peer);
      return this.depositor.leave(peer, this.peers.get(peer).exchange.mailedAcks(), [], Date.now() + LONGEST_WAIT);
    });
    this.leaving.set(peer, left);
    return left;
  }
}
