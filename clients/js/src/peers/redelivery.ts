/** Hands messages of the inbox to handlers, as soon as there are some: in order within a topic, topics side by side. */

import { FAILED, TAKEN } from "../delivery/wire.js";
import type { HeldTopic, Inbox } from "../durable/inbox.js";
import type { Kept, KeptKey } from "../durable/inboxrows.js";
import { asError, Refused } from "../errors.js";
import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import type { Dispatcher } from "../messaging/dispatch.js";
import { NOBODY, type Result } from "../messaging/subscriber.js";
import { refusal, textOf, toldOf } from "./reception.js";

const IN_HAND = 256; // messages of one topic that handlers have at once

/** `scope` says what a sender is to us now. */
export class Redelivery {
  private readonly reading = new Map<HeldTopic, { again: boolean; freed: () => void }>();
  private armed = false;
  private begun = false;
  private closed = false;

  constructor(
    private readonly inbox: Inbox,
    private readonly dispatcher: Dispatcher,
    private readonly scope: (peer: SignId) => Scope,
    private readonly failed: (error: Error) => void,
  ) {
    inbox.saved = () => this.look();
  }

  /** Hand over what there are handlers for. */
  begin(): void {
    this.begun = true;
    this.look();
  }

  close(): void {
    this.closed = true;
  }

  /** There may be something to hand over: look at the end of this turn. */
  look(): void {
    if (this.armed || !this.begun || this.closed) return;
    this.armed = true;
    queueMicrotask(() => {
      this.armed = false;
      for (const topic of this.inbox.topics.values()) if (this.isHeard(topic)) this.start(topic);
    });
  }

  private isHeard({ peer, topic, protocol }: HeldTopic): boolean {
    return this.dispatcher.listens(this.scope(peer as SignId), topic, protocol);
  }

  private start(topic: HeldTopic): void {
    const reading = this.reading.get(topic);
    if (reading) {
      reading.again = true;
      return;
    }
    this.reading.set(topic, { again: false, freed: () => {} });
    this.handOver(topic)
      .catch((error: unknown) => this.failed(asError(error)))
      .finally(() => this.reading.delete(topic));
  }

  /** Hand all messages of a topic over, those that come meanwhile included. */
  private async handOver(topic: HeldTopic): Promise<void> {
    const reading = this.reading.get(topic)!;
    let after = "";
    do {
      reading.again = false;
      let found = await this.inbox.page(topic, after);
      while (found.length) {
        for (const [key, kept] of found) {
          after = key.encoded;
          const waits = topic.keys.has(after) && !topic.inHand.has(after);
          if (this.closed || (waits && !this.hand(topic, key, kept))) return;
        }
        while (topic.inHand.size >= IN_HAND) await new Promise<void>((resolve) => (reading.freed = resolve));
        found = await this.inbox.page(topic, after);
      }
    } while (reading.again && !this.closed);
  }

  /** False when nobody listens any more. */
  private hand(topic: HeldTopic, key: KeptKey, kept: Kept): boolean {
    const scope = this.scope(kept.peer as SignId);
    let heard = true;
    topic.inHand.add(key.encoded);
    this.dispatcher.message(scope, kept.peer as SignId, kept, (result) => {
      topic.inHand.delete(key.encoded);
      this.reading.get(topic)?.freed();
      if (result === NOBODY) heard = false;
      else this.finished(key, kept, scope, result);
    });
    return heard;
  }

  private finished(key: KeptKey, kept: Kept, scope: Scope, { error }: Result): void {
    if (!error) this.inbox.end(key, kept, TAKEN);
    else if (error instanceof Refused) this.inbox.end(key, kept, refusal(error));
    else this.inbox.fail(key, kept, textOf(error), [FAILED, toldOf(error, scope)]);
  }
}
