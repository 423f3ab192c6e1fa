/** Where peers are: the newest signed record of each, kept for those we know. */

import { asError, InvalidRecord } from "../errors.js";
import type { SignId } from "../identity/keys.js";
import { decodeNodeInfo, type NodeInfo, newest } from "../identity/nodeinfo.js";
import type { Storage } from "../storage/contract.js";

const REMEMBERED = 4096;

export class Directory {
  private readonly records = new Map<string, NodeInfo>();
  private readonly added = new Set<string>(); // peers whose tickets somebody here gave in this run

  constructor(
    private readonly storage: Storage,
    private readonly known: (peer: SignId) => boolean,
    private readonly failed: (error: Error) => void,
  ) {}

  async open(): Promise<void> {
    for (const [, record] of await this.storage.read("record/")) {
      try {
        const info = decodeNodeInfo(record, 0);
        this.records.set(info.signId, info);
      } catch (error) {
        if (!(error instanceof InvalidRecord)) throw error;
        this.failed(error);
      }
    }
  }

  /** Take in the record of a ticket that somebody here gave: the peer may make us go anywhere. */
  add(info: NodeInfo): void {
    this.learn(info);
    this.added.add(info.signId);
  }

  isAdded(peer: SignId): boolean {
    return this.added.has(peer);
  }

  /** Take a proven record in; the newest of a key stays. */
  learn(info: NodeInfo): void {
    const old = this.records.get(info.signId);
    if (old && newest(old, info) === old) return;
    if (!old && this.records.size >= REMEMBERED) this.forgetStranger();
    this.records.set(info.signId, info);
    if (this.known(info.signId)) this.keep(info);
  }

  /** Keep what is known of a peer that has become a friend. */
  befriend(peer: SignId): void {
    const info = this.records.get(peer);
    if (info) this.keep(info);
  }

  /** Its record, if it is still good. */
  find(peer: SignId): NodeInfo | undefined {
    const info = this.records.get(peer);
    return info && info.expires > Date.now() / 1000 ? info : undefined;
  }

  private keep(info: NodeInfo): void {
    this.storage
      .write([[`record/${info.signId}`, info.record]], false)
      .catch((error: unknown) => this.failed(asError(error)));
  }

  private forgetStranger(): void {
    for (const peer of this.records.keys()) {
      if (!this.known(peer as SignId)) {
        this.records.delete(peer);
        return;
      }
    }
  }
}
