/** Handshakes in both directions; hands each link to the peer it proved to be with. */

import { random } from "../bytes.js";
import { Budget } from "../delivery/fragments.js";
import { asError, ProtocolError } from "../errors.js";
import type { Identity, SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import type { Connection, Receiver, Transport } from "../plugins/transport.js";
import { CookieJar } from "../session/cookies.js";
import { Initiator, Responder } from "../session/handshake.js";
import { type HandshakeOwner, Link, type LinkOwner } from "./link.js";

const MAX_UNPROVEN = 64; // connections whose other end has not yet proved who it is
const ASSEMBLY = 128 * 1024 * 1024; // bytes of frames in assembly, of all peers

/** The part of a peer that links are for. */
export interface LinkedPeer extends LinkOwner {
  /** What a handshake tells the peer about what we have of it. */
  resume(): Uint8Array;
  linkReady(link: Link, resume: Uint8Array): void;
}

/** Where the factory finds those its links are for. */
export interface LinkedPeers {
  get(peer: SignId): LinkedPeer;
  /** The peer that has proven, by this record, who it is. */
  proven(info: NodeInfo): LinkedPeer;
}

/** Is told of one link that is being made: when its handshake begins, and when it is up. */
export interface LinkWatch {
  started(link: Link): void;
  opened(link: Link): void;
}

/** The record of this node as it is now. */
interface Recorded {
  readonly record: Uint8Array;
}

interface Opening {
  resolve(link: Link): void;
  reject(error: Error): void;
}

export class LinkFactory implements HandshakeOwner {
  private readonly jar = new CookieJar(random);
  private readonly budget = new Budget(ASSEMBLY);
  private readonly unproven = new Set<Link>();
  private readonly dialled = new Map<Link, Opening>();
  private closed = false;

  constructor(
    private readonly identity: Identity,
    private readonly own: Recorded,
    private readonly peers: LinkedPeers,
  ) {}

  /** Somebody dialled us. When too many have not proven who they are, the oldest gives way. */
  readonly accept = (connection: Connection): Receiver => {
    const machine = new Responder(this.identity, () => this.own.record, this.jar, random);
    const link = new Link(connection, machine, this, this.budget);
    const [oldest] = this.unproven;
    if (oldest && this.unproven.size >= MAX_UNPROVEN) {
      this.unproven.delete(oldest);
      oldest.connection.abort();
    }
    this.unproven.add(link);
    return link;
  };

  /** A link to `peer` over `transport`. Rejects with Unreachable, or what ended the handshake. */
  open(peer: SignId, address: string, transport: Transport, watch: LinkWatch): Promise<Link> {
    return new Promise((resolve, reject) => {
      const accept = (connection: Connection): Receiver => {
        const machine = new Initiator(
          this.identity,
          this.own.record,
          peer,
          () => this.peers.get(peer).resume(),
          random,
        );
        const link = new Link(connection, machine, this, this.budget);
        link.dialledAt = address;
        this.dialled.set(link, {
          resolve: (opened) => {
            watch.opened(opened);
            resolve(opened);
          },
          reject,
        });
        watch.started(link);
        return link;
      };
      transport.dial(address, peer, accept).catch(reject);
    });
  }

  /** End what is under way; links that are up stay so. */
  close(): void {
    this.closed = true;
    for (const link of [...this.unproven, ...this.dialled.keys()]) link.connection.abort();
  }

  linkIdentified(peer: NodeInfo): Uint8Array {
    if (peer.signId === this.identity.signId) throw new ProtocolError("own-key", "the other end has our own key");
    if (this.closed) throw new ProtocolError("stopping", "this node is stopping");
    return this.peers.proven(peer).resume();
  }

  linkReady(link: Link, info: NodeInfo, resume: Uint8Array): void {
    const peer = this.peers.proven(info);
    const opening = this.forget(link);
    link.owner = peer;
    try {
      peer.linkReady(link, resume);
    } catch (error) {
      opening?.reject(asError(error)); // the peer owns the link now: nobody else tells who dialled
      throw error;
    }
    opening?.resolve(link);
  }

  handshakeFailed(link: Link, error: Error): void {
    this.forget(link)?.reject(error);
  }

  private forget(link: Link): Opening | undefined {
    this.unproven.delete(link);
    const opening = this.dialled.get(link);
    this.dialled.delete(link);
    return opening;
  }
}
