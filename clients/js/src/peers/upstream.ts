/** What APIs stand on: checks a message and gives it to the outbox, or to a link. */

import type { Contacts } from "../contacts.js";
import type { Event } from "../delivery/wire.js";
import type { Outbox } from "../durable/outbox.js";
import { ControlTopic, InvalidKey, InvalidPayload, NotRunning, QueueFull } from "../errors.js";
import { GroupDelivery } from "../groupdelivery.js";
import { isControlTopic } from "../identity/circles.js";
import { parseSignId, type SignId } from "../identity/keys.js";
import { isListName } from "../identity/names.js";
import { Delivery, MAX_PAYLOAD, SENT } from "../message.js";
import type { Upstream } from "../messaging/api.js";
import { checkUnscoped } from "../messaging/patterns.js";
import type { FriendRequests } from "./friendrequests.js";
import type { Peer } from "./peer.js";
import type { Peers } from "./registry.js";

export class NodeUpstream implements Upstream {
  private closed = false;

  constructor(
    readonly signId: SignId,
    private readonly outbox: Outbox,
    private readonly peers: Peers,
    private readonly friendRequests: FriendRequests,
    private readonly contacts: Contacts,
  ) {}

  /** Nothing is taken any more. */
  close(): void {
    this.closed = true;
  }

  /** Throws NotRunning, ControlTopic, InvalidTopic, InvalidPayload or InvalidKey. */
  async post(destination: string, lane: number, event: Event, realtime: boolean, expires: number): Promise<Delivery> {
    this.check(event);
    const peer = this.peers.get(parseSignId(destination));
    if (realtime) return this.postEvent(peer, event);
    this.friendRequests.ask(peer.signId);
    await this.outbox.room(destination);
    return this.outbox.put(destination, lane, event.topic, event.protocol, event.payload, expires);
  }

  /** All of several are sent it, or none. Throws what `post` throws, LocalError when there is nobody, or QueueFull. */
  async postToAll(
    destination: string | readonly string[],
    lane: number,
    event: Event,
    realtime: boolean,
    expires: number,
  ): Promise<GroupDelivery> {
    this.check(event);
    const peers = this.contacts.members(destination).map((peer) => this.peers.get(peer));
    const deliveries = realtime
      ? peers.map((peer) => this.postEvent(peer, event))
      : await this.putToAll(peers, lane, event, expires);
    const group = typeof destination === "string" ? destination : `${peers.length} peer${peers.length > 1 ? "s" : ""}`;
    return new GroupDelivery(group, new Map(deliveries.map((delivery) => [delivery.peer, delivery])));
  }

  async ask(
    destination: string,
    event: Event,
    timeout: number,
    signal?: AbortSignal,
    patience?: number,
  ): Promise<Uint8Array> {
    this.check(event);
    if (isListName(destination))
      throw new InvalidKey(`${destination}: a request has one answer, so it goes to one peer`);
    return this.peers.get(parseSignId(destination)).exchange.request(event, timeout, signal, patience);
  }

  private postEvent(peer: Peer, event: Event): Delivery {
    const delivery = new Delivery(peer.signId);
    const sent = peer.exchange.sendEvent(event);
    delivery.settle(sent ? SENT : { state: "dropped", reason: peer.reason || "no link is up" });
    return delivery;
  }

  /** What is put in one turn is saved in one transaction. The others are not to wait for one that is away. */
  private putToAll(peers: readonly Peer[], lane: number, event: Event, expires: number): Promise<Delivery[]> {
    const full = peers.find(({ signId }) => this.outbox.isFull(signId));
    if (full) throw new QueueFull(`so much waits for ${full.signId} already that none is sent this`);
    const { topic, protocol, payload } = event;
    for (const { signId } of peers) this.friendRequests.ask(signId);
    return Promise.all(peers.map(({ signId }) => this.outbox.put(signId, lane, topic, protocol, payload, expires)));
  }

  private check(event: Event): void {
    if (this.closed) throw new NotRunning();
    if (isControlTopic(event.topic)) throw new ControlTopic(`${event.topic} steers a node and is not sent to others`);
    checkUnscoped(event.topic);
    if (event.payload.length > MAX_PAYLOAD) throw new InvalidPayload(`a payload has at most ${MAX_PAYLOAD} bytes`);
  }
}
