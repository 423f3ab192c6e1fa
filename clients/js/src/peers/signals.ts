/** What transports of two nodes say to each other over a link that is up; the topic is the scheme of the transport. */

import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import type { ProtocolHandler } from "../messaging/dispatch.js";
import { NOBODY, type Result } from "../messaging/subscriber.js";
import { type Transport, transportOf } from "../plugins/transport.js";
import type { Peers } from "./registry.js";

export const SIGNALS = "rtc"; // the protocol

export class Signals implements ProtocolHandler {
  constructor(
    private readonly peers: Peers,
    private readonly transports: readonly Transport[],
  ) {}

  /** At once or not at all: a signal that is late is of no use. False when no link is up. */
  send(signId: SignId, scheme: string, data: Uint8Array): boolean {
    const peer = this.peers.find(signId);
    return peer?.link !== undefined && peer.exchange.sendEvent({ topic: scheme, protocol: SIGNALS, payload: data });
  }

  listens(): boolean {
    return false;
  }

  onEvent(_scope: Scope, topic: string, sender: SignId, payload: Uint8Array): void {
    transportOf(topic, this.transports)?.signalled?.(sender, payload);
  }

  onMessage(
    _scope: Scope,
    _topic: string,
    _sender: SignId,
    _payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    finished(NOBODY);
  }

  onRequest(
    _scope: Scope,
    _topic: string,
    _sender: SignId,
    _payload: Uint8Array,
    finished: (result: Result<Uint8Array>) => void,
  ): void {
    finished(NOBODY);
  }
}
