/** Makes links, in both directions: runs the handshakes and hands each link to the peer it proved to be with. */

import { random } from "../bytes.js";
import { Budget } from "../delivery/fragments.js";
import { asError, ProtocolError, Unreachable } from "../errors.js";
import type { Identity, SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import { CookieJar } from "../session/cookies.js";
import { Initiator, Responder } from "../session/handshake.js";
import { Link, type LinkOwner } from "./link.js";
import { dialable, type Connection, type Receiver, type Transport } from "../plugins/transport.js";

const STAGGER = 250; // milliseconds between two attempts (the same as RFC 8305 recommends)
const MAX_ADDRESSES = 8; // of one peer are tried
const MAX_UNPROVEN = 64; // connections whose other end has not yet proved who it is
const ASSEMBLY = 128 * 1024 * 1024; // bytes of frames in assembly, of all peers

/** The part of a peer that links are for. */
export interface PeerOfLink extends Pick<LinkOwner, "linkReady" | "linkLost" | "frameReceived" | "linkWritable"> {
  resume(): Uint8Array;
}

/** `peerOf` gives the peer a proven key belongs to, `known` one that we dial. */
export class Links implements LinkOwner {
  private readonly jar = new CookieJar(random);
  private readonly budget = new Budget(ASSEMBLY);
  private readonly unproven = new Set<Link>();
  private readonly dialled = new Map<Link, { resolve(link: Link): void; reject(error: Error): void }>();
  closed = false;

  constructor(
    private readonly identity: Identity,
    private readonly record: () => Uint8Array,
    private readonly peerOf: (info: NodeInfo) => PeerOfLink,
    private readonly known: (peer: SignId) => PeerOfLink,
  ) {}

  /** Somebody dialled us. When too many have not proven who they are, the oldest gives way. */
  readonly accept = (connection: Connection): Receiver => {
    const machine = new Responder(this.identity, this.record, this.jar, random);
    const link = new Link(connection, machine, this, this.budget);
    const [oldest] = this.unproven;
    if (oldest && this.unproven.size >= MAX_UNPROVEN) {
      this.unproven.delete(oldest);
      oldest.connection.abort();
    }
    this.unproven.add(link);
    return link;
  };

  /** A link to `peer` over the first of the addresses that answers; they are tried one after the other, staggered. */
  async dial(peer: SignId, addresses: readonly string[], transports: readonly Transport[]): Promise<Link> {
    const ways = dialable(addresses.slice(0, MAX_ADDRESSES), transports);
    if (!ways.length) throw new Unreachable(`no address of the peer can be dialled from here (it gave: ${addresses.join(", ") || "none"})`);
    const race: Race = { started: [], won: false };
    const attempts = ways.map(async ({ address, transport }, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * STAGGER));
      if (race.won) throw new Unreachable("not needed");
      return this.attempt(peer, address, transport, race);
    });
    try {
      return await Promise.any(attempts);
    } catch (error) {
      throw error instanceof AggregateError ? new Unreachable(error.errors.map((one) => asError(one).message).join("; ")) : error;
    }
  }

  linkIdentified(_link: Link, peer: NodeInfo): Uint8Array {
    if (peer.signId === this.identity.signId) throw new ProtocolError("own-key", "the other end has our own key");
    if (this.closed) throw new ProtocolError("stopping", "this node is stopping");
    return this.peerOf(peer).resume();
  }

  linkReady(link: Link, peer: NodeInfo, resume: Uint8Array): void {
    const owner = this.peerOf(peer);
    this.unproven.delete(link);
    const waiting = this.dialled.get(link);
    this.dialled.delete(link);
    link.owner = { ...ownedBy(owner), linkIdentified: wrongState, linkReady: wrongState };
    owner.linkReady(link, peer, resume);
    waiting?.resolve(link);
  }

  /** It ended before anybody proved anything. */
  linkLost(link: Link, error: Error): void {
    this.unproven.delete(link);
    const waiting = this.dialled.get(link);
    this.dialled.delete(link);
    waiting?.reject(error);
  }

  frameReceived(): void {}

  linkWritable(): void {}

  close(): void {
    this.closed = true;
    for (const link of [...this.unproven, ...this.dialled.keys()]) link.connection.abort();
  }

  private attempt(peer: SignId, address: string, transport: Transport, race: Race): Promise<Link> {
    return new Promise((resolve, reject) => {
      const accept = (connection: Connection): Receiver => {
        const machine = new Initiator(this.identity, this.record(), peer, () => this.known(peer).resume(), random);
        const link = new Link(connection, machine, this, this.budget);
        link.dialledAt = address;
        race.started.push(link);
        this.dialled.set(link, { resolve: (opened) => (win(race, opened), resolve(opened)), reject });
        return link;
      };
      transport.dial(address, peer, accept).catch(reject);
    });
  }
}

/** Attempts to reach one peer, of which one is enough. */
interface Race {
  readonly started: Link[];
  won: boolean;
}

/** The others end before they become links: a second link to the peer would replace the first. */
function win(race: Race, opened: Link): void {
  race.won = true;
  for (const link of race.started) if (link !== opened) link.connection.abort();
}

function ownedBy(owner: PeerOfLink): Pick<LinkOwner, "linkLost" | "frameReceived" | "linkWritable"> {
  return {
    linkLost: (link, error) => owner.linkLost(link, error),
    frameReceived: (link, frame) => owner.frameReceived(link, frame),
    linkWritable: (link) => owner.linkWritable(link),
  };
}

function wrongState(): never {
  throw new ProtocolError("wrong-state", "the link is ready already");
}
