/**
 * Who asks to be a friend: a node tells a peer once that it has added it, and lists who has told it so. What such a
 * stranger sends stays with it until a person has decided.
 *
 *     asking/<peer>   since when it asks us
 *     asked/<peer>    a friend that was told
 */

import { EMPTY } from "../bytes.js";
import { decode, encode } from "../codec.js";
import type { Contacts } from "../contacts.js";
import type { Outbox } from "../durable/outbox.js";
import { asError, Refused } from "../errors.js";
import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import { PRIORITIES } from "../message.js";
import { InternalHandler } from "../messaging/internal.js";
import { DONE, type Result } from "../messaging/subscriber.js";
import type { Storage } from "../storage/contract.js";

export const CONTACTS = "contacts"; // the protocol
const TOPIC = "friend";
const LANE = PRIORITIES.indexOf("control");
const EXPIRY = 30 * 24 * 3_600_000; // milliseconds after which a question is given up
const MOST = 256; // peers that are listed; more are refused

/** `asks` is told of a stranger that begins to ask. */
export class FriendRequests extends InternalHandler {
  private readonly asking = new Map<SignId, number>();
  private readonly asked = new Set<SignId>();

  constructor(
    private readonly contacts: Contacts,
    private readonly storage: Storage,
    private readonly outbox: Outbox,
    private readonly asks: (peer: SignId) => void,
    private readonly failed: (error: Error) => void,
  ) {
    super();
  }

  async open(): Promise<void> {
    for (const [key, value] of await this.storage.read("asking/")) this.asking.set(peerOf(key), Number(decode(value)));
    for (const key of await this.storage.keys("asked/")) this.asked.add(peerOf(key));
  }

  /** Who asks, and since when (Unix milliseconds); the first one first. */
  list(): { peer: SignId; since: number }[] {
    return Array.from(this.asking, ([peer, since]) => ({ peer, since })).sort((a, b) => a.since - b.since);
  }

  isAsking(peer: string): boolean {
    return this.asking.has(peer as SignId);
  }

  /** Take a peer from the list; false when it is not there. */
  forget(peer: SignId): boolean {
    if (!this.asking.delete(peer)) return false;
    this.save(`asking/${peer}`, null);
    return true;
  }

  /** Tell a friend, once, that it is one here. */
  ask(peer: SignId): void {
    if (this.asked.has(peer) || !this.contacts.friends.has(peer)) return;
    this.asked.add(peer);
    this.outbox
      .put(peer, LANE, TOPIC, CONTACTS, encode({}), Date.now() + EXPIRY, [[`asked/${peer}`, EMPTY]])
      .catch((error: unknown) => {
        this.asked.delete(peer); // the next message asks once more
        this.failed(asError(error));
      });
  }

  /** Friends have changed: those who asked and are friends now wait no longer, those who are none may be asked again. */
  changed(): void {
    const { friends } = this.contacts;
    for (const peer of this.asking.keys()) if (friends.has(peer)) this.forget(peer);
    for (const peer of this.asked) {
      if (friends.has(peer)) continue;
      this.asked.delete(peer);
      this.save(`asked/${peer}`, null);
    }
  }

  override onMessage(
    scope: Scope,
    topic: string,
    sender: SignId,
    _payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    const isNew = scope === "public" && topic === TOPIC && !this.asking.has(sender);
    if (isNew && this.asking.size >= MOST) {
      finished({ error: new Refused("too many ask") });
      return;
    }
    if (isNew) {
      this.asking.set(sender, Date.now());
      this.save(`asking/${sender}`, encode(Date.now()));
      this.asks(sender);
    }
    finished(DONE);
  }

  private save(key: string, value: Uint8Array | null): void {
    this.storage.write([[key, value]], false).catch((error: unknown) => this.failed(asError(error)));
  }
}

function peerOf(key: string): SignId {
  return key.slice(key.indexOf("/") + 1) as SignId;
}
