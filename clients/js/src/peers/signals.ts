/** What transports of two nodes say to each other over a link that is up; the topic is the scheme of the transport. */

import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import { InternalHandler } from "../messaging/internal.js";
import { type Transport, transportOf } from "../plugins/transport.js";
import type { Peers } from "./registry.js";

export const SIGNALS = "rtc"; // the protocol

export class Signals extends InternalHandler {
  constructor(
    private readonly peers: Peers,
    private readonly transports: readonly Transport[],
  ) {
    super();
  }

  /** At once or not at all: a signal that is late is of no use. False when no link is up. */
  send(signId: SignId, scheme: string, data: Uint8Array): boolean {
    const peer = this.peers.find(signId);
    return peer?.link !== undefined && peer.exchange.sendEvent({ topic: scheme, protocol: SIGNALS, payload: data });
  }

  override listens(): boolean {
    return false;
  }

  override onEvent(_scope: Scope, topic: string, sender: SignId, payload: Uint8Array): void {
    transportOf(topic, this.transports)?.signalled?.(sender, payload);
  }
}
