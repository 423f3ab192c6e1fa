/** One object a remote peer, made when needed, forgotten when it is a stranger and idle; and the links that lead to them. */

import type { Emitter } from "../events.js";
import type { Identity, SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import { Dialer } from "../links/dialer.js";
import { type LinkedPeers, LinkFactory } from "../links/factory.js";
import type { Accept } from "../plugins/transport.js";
import { Peer, type PeerContext, type PeerEvents } from "./peer.js";

const MAX_PEERS = 1000; // beyond which those who are strangers and away are forgotten

/** Told of a peer, after an attempt to reach it failed. */
export type PeerObserver = Pick<PeerEvents, "unreachable">;

export class Peers implements LinkedPeers, PeerEvents {
  private readonly peers = new Map<string, Peer>();
  private asked = 0; // the highest number of a request to those who are forgotten
  private readonly factory: LinkFactory;
  private readonly context: PeerContext;
  private readonly observers: PeerObserver[] = [];

  constructor(
    private readonly identity: Identity,
    context: Omit<PeerContext, "dialer" | "events">,
    private readonly emitter: Emitter,
  ) {
    this.factory = new LinkFactory(identity, context.ownRecord, this);
    this.context = { ...context, dialer: new Dialer(this.factory, context.transports), events: this };
  }

  /** What transports call with connections that others opened. */
  get accept(): Accept {
    return this.factory.accept;
  }

  observe(observer: PeerObserver): void {
    this.observers.push(observer);
  }

  /** The peer, made when there is none. */
  get(signId: SignId): Peer {
    let peer = this.peers.get(signId);
    if (!peer) {
      peer = new Peer(this.identity.signId, signId, this.context, this.asked);
      this.peers.set(signId, peer);
    }
    return peer;
  }

  /** The peer, if there is one. */
  find(signId: string): Peer | undefined {
    return this.peers.get(signId);
  }

  proven(info: NodeInfo): Peer {
    this.context.directory.learn(info);
    return this.get(info.signId);
  }

  /** Ask a peer, or all, for what was left with it. */
  leftAgain(signId?: string): void {
    const peers = signId === undefined ? [...this.peers.values()] : [this.peers.get(signId)];
    for (const peer of peers) peer?.exchange.leftAgain();
  }

  /** The network has changed: nobody waits for the next attempt. */
  nudge(): void {
    for (const peer of this.peers.values()) peer.nudge();
  }

  /** End all links; what waits is kept. `error` is what those get who wait for a reply or a link. */
  close(error: Error): void {
    this.factory.close();
    for (const peer of this.peers.values()) peer.close(error);
  }

  // What becomes of a peer.

  reached(peer: SignId): void {
    this.emitter.emit("connection", peer);
  }

  moved(peer: SignId, address: string): void {
    this.emitter.emit("path", peer, address);
  }

  lost(peer: SignId, reason: string): void {
    this.emitter.emit("disconnected", peer, reason);
    if (this.peers.size > MAX_PEERS) this.forgetStrangers();
  }

  unreachable(peer: SignId): void {
    for (const observer of this.observers) observer.unreachable(peer);
  }

  failed(error: Error): void {
    this.emitter.emit("error", error, "");
  }

  /** Those to whom nobody here has anything to say; what was handled of them is kept. */
  private forgetStrangers(): void {
    const { contacts } = this.context;
    for (const [signId, peer] of this.peers)
      if (peer.idle && !contacts.known(peer.signId)) {
        this.peers.delete(signId);
        this.asked = Math.max(this.asked, peer.exchange.pending.number);
      }
  }
}
