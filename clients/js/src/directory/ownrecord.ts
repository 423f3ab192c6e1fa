/** Our own signed record: where we are reached, signed anew in time. */

import type { Identity } from "../identity/keys.js";
import { createNodeInfo, type NodeInfo } from "../identity/nodeinfo.js";

const VALID = 14 * 24 * 3600; // seconds that a record of ours is good; it is renewed after half of them

export class OwnRecord {
  /** Where others reach us. */
  readonly addresses: string[] = [];
  private signed: NodeInfo | undefined;

  constructor(private readonly identity: Identity) {}

  /** Others reach us there too; the next record says so. */
  add(addresses: readonly string[]): void {
    this.addresses.push(...addresses);
  }

  /** Good for VALID / 2 at least, and with all addresses. */
  get info(): NodeInfo {
    const now = Math.floor(Date.now() / 1000);
    const old = this.signed;
    if (!old || old.expires < now + VALID / 2 || old.addresses.length !== this.addresses.length) {
      const seq = Math.max(Date.now(), (old?.seq ?? 0) + 1);
      this.signed = createNodeInfo(this.identity, this.addresses, seq, now + VALID);
      return this.signed;
    }
    return old;
  }

  /** As bytes. */
  get record(): Uint8Array {
    return this.info.record;
  }
}
