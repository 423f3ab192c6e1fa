/** What a transport may ask of its node, and tell it. */

import type { Emitter } from "./events.js";
import type { Identity, SignId } from "./identity/keys.js";
import type { Mailer } from "./mail/mailer.js";
import type { Peers } from "./peers/registry.js";
import type { Signals } from "./peers/signals.js";
import type { TransportHost } from "./plugins/transport.js";

export class NodeTransportHost implements TransportHost {
  constructor(
    readonly identity: Identity,
    private readonly peers: Peers,
    private readonly signals: Signals,
    private readonly mailer: Mailer,
    private readonly emitter: Emitter,
    readonly trusts: (peer: SignId) => boolean,
  ) {}

  failed(error: Error): void {
    this.emitter.emit("error", error, "");
  }

  linked(peer: SignId): boolean {
    return this.peers.find(peer)?.link !== undefined;
  }

  signal(peer: SignId, scheme: string, data: Uint8Array): boolean {
    return this.signals.send(peer, scheme, data);
  }

  present(peer: SignId): void {
    this.peers.find(peer)?.nudge();
  }

  mailReceived(envelope: Uint8Array, done: (handled: boolean) => void): void {
    this.mailer.received(envelope, done);
  }

  mailFinished(peer: SignId, state: string): void {
    this.mailer.finished(peer, state);
  }
}
