/** What APIs stand on: checks a message and gives it to the outbox, or to a link. */

import type { Event } from "../delivery/wire.js";
import type { Outbox } from "../durable/outbox.js";
import { ControlTopic, InvalidPayload, NotRunning } from "../errors.js";
import { isControlTopic } from "../identity/circles.js";
import { parseSignId, type SignId } from "../identity/keys.js";
import { Delivery, MAX_PAYLOAD, SENT } from "../message.js";
import type { Upstream } from "../messaging/api.js";
import { checkUnscoped } from "../messaging/patterns.js";
import type { FriendRequests } from "./friendrequests.js";
import type { Peers } from "./registry.js";

export class NodeUpstream implements Upstream {
  private closed = false;

  constructor(
    readonly signId: SignId,
    private readonly outbox: Outbox,
    private readonly peers: Peers,
    private readonly friendRequests: FriendRequests,
  ) {}

  /** Nothing is taken any more. */
  close(): void {
    this.closed = true;
  }

  /** Throws NotRunning, ControlTopic, InvalidTopic, InvalidPayload or InvalidKey. */
  async post(destination: string, lane: number, event: Event, realtime: boolean, expires: number): Promise<Delivery> {
    this.check(event);
    const peer = this.peers.get(parseSignId(destination));
    if (realtime) {
      const delivery = new Delivery(destination);
      const sent = peer.exchange.sendEvent(event);
      delivery.settle(sent ? SENT : { state: "dropped", reason: peer.reason || "no link is up" });
      return delivery;
    }
    this.friendRequests.ask(peer.signId);
    await this.outbox.room(destination);
    return this.outbox.put(destination, lane, event.topic, event.protocol, event.payload, expires);
  }

  async ask(destination: string, event: Event, timeout: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.check(event);
    return this.peers.get(parseSignId(destination)).exchange.request(event, timeout, signal);
  }

  private check(event: Event): void {
    if (this.closed) throw new NotRunning();
    if (isControlTopic(event.topic)) throw new ControlTopic(`${event.topic} steers a node and is not sent to others`);
    checkUnscoped(event.topic);
    if (event.payload.length > MAX_PAYLOAD) throw new InvalidPayload(`a payload has at most ${MAX_PAYLOAD} bytes`);
  }
}
