/** The links that go over one relay, and the peers that could not be reached there. */

import { equal, fromBigEndian, hex, random } from "../../bytes.js";
import { LocalError, ProtocolError, Unreachable } from "../../errors.js";
import { rawKey, type SignId, signIdOf } from "../../identity/keys.js";
import type { Mail } from "../../plugins/mailcarrier.js";
import { type Accept, LENGTH_LIMIT, type TransportHost } from "../../plugins/transport.js";
import { Client, type ClientOwner } from "./client.js";
import { RelayConnection, type RelayLink } from "./connection.js";
import { RelayMailClient } from "./mail.js";
import type { RelayAddress } from "./protocol/address.js";
import type { Item } from "./protocol/items.js";

const MAX_LINKS = 1024; // over one relay
const NO_ROUTE_REASONS = ["unreachable", "denied", "unknown"]; // why a relay does not lead to another one
const MAX_LINKS_PEER = 8; // of one peer

/**
 * `gone` is called when a guest's connection has ended, `routeFailed` when this relay does not reach that one.
 * `accept` is for peers that dial us; undefined: nobody may.
 */
export class RelayMultiplexer implements ClientOwner, RelayLink {
  readonly client: Client;
  private readonly mail: RelayMailClient;
  accept: Accept | undefined;
  private readonly links = new Map<string, RelayConnection>();
  private readonly missed = new Set<SignId>();
  private readonly pausedThere = new Set<string>(); // peers for whom too much waits at the relay
  private pausedHere: RelayConnection[] = [];
  private maxFrame = LENGTH_LIMIT;
  private failures = 0;

  /** `home`: we stay signed in there, and others may reach us; else we are a guest while a link lasts. */
  constructor(
    readonly address: RelayAddress,
    private readonly host: TransportHost,
    private readonly home: boolean,
    private readonly gone: () => void,
    private readonly routeFailed: (via: string) => void,
  ) {
    this.client = new Client(address, host.identity, this, home);
    this.mail = new RelayMailClient(this, host);
    this.client.start();
  }

  get full(): boolean {
    return this.client.full;
  }

  tell(item: Item): boolean {
    return this.client.tell(item);
  }

  /** A link to `peer`; whether the peer is there shows when it answers. `via` is a relay of it, when not this one. */
  dial(peer: SignId, accept: Accept, via: string): RelayConnection {
    const key = rawKey(peer);
    if (!this.client.open) {
      this.missed.add(peer);
      throw new Unreachable(`${this.address.text}: ${this.client.reason}`);
    }
    if (this.crowded(key)) throw new Unreachable(`${this.address.text}: too many links over this relay`);
    const number = fromBigEndian(random(6)) + 1;
    const connection = this.connection(key, number, via);
    connection.join(accept, false);
    if (this.pausedThere.has(hex(key))) connection.hold("there");
    return connection;
  }

  /** Resolves once the relay keeps it. */
  async deposit(peer: SignId, mail: Mail, via: string): Promise<void> {
    if (!this.client.open) throw new Unreachable(`${this.address.text}: ${this.client.reason}`);
    await this.mail.deposit(rawKey(peer), mail, via);
    this.leaveIfIdle();
  }

  close(): void {
    this.client.leave();
  }

  // What connections call.

  pauseHere(connection: RelayConnection): void {
    this.pausedHere.push(connection);
  }

  leave(connection: RelayConnection): void {
    this.links.delete(nameOf(connection.peer, connection.number));
    this.leaveIfIdle();
  }

  // What the client calls.

  relayUp(limits: readonly number[]): void {
    this.failures = 0;
    this.maxFrame = Math.min(LENGTH_LIMIT, limits[0] || LENGTH_LIMIT);
    for (const connection of [...this.links.values()]) {
      if (connection.maxFrame > this.maxFrame)
        connection.end(connection.error(`the relay carries frames of ${this.maxFrame} bytes at most`));
    }
    const missed = [...this.missed];
    this.missed.clear();
    for (const peer of missed) this.host.present(peer);
  }

  relaySaid(item: Item): void {
    switch (item.type) {
      case "data":
        this.data(item.peer, item.link, item.data);
        break;
      case "open":
        this.opened(item.peer, item.link, item.data);
        break;
      case "closed":
        for (const connection of this.named(item.peer, item.link)) this.closedThere(connection, item.reason);
        break;
      case "pause":
        if (this.pausedThere.size < MAX_LINKS) this.pausedThere.add(hex(item.peer));
        for (const connection of this.named(item.peer, 0)) connection.hold("there");
        break;
      case "resume":
        this.pausedThere.delete(hex(item.peer));
        for (const connection of this.named(item.peer, 0)) connection.release("there");
        break;
      case "present":
        this.host.present(signIdOf(item.peer));
        break;
      default:
        if (!this.mail.said(item)) throw new ProtocolError("bad-item", `a relay does not say ${item.type}`);
    }
  }

  relayDown(reason: string, serious: boolean): void {
    this.failures++;
    this.mail.down(reason);
    this.pausedThere.clear();
    this.pausedHere = [];
    for (const connection of [...this.links.values()]) {
      this.missed.add(signIdOf(connection.peer));
      connection.end(connection.error(reason));
    }
    const once = this.failures === 2 || (serious && this.failures === 1);
    if (this.home && once) this.host.failed(new LocalError(`${this.address.text}: ${reason}; it is tried on and on`));
    if (!this.home) this.gone();
  }

  relayWritable(): void {
    for (const connection of this.pausedHere.splice(0)) connection.release("here");
  }

  private leaveIfIdle(): void {
    if (!this.home && !this.links.size && this.mail.idle) this.client.leave();
  }

  private data(peer: Uint8Array, number: number, data: Uint8Array): void {
    const connection = this.links.get(nameOf(peer, number));
    if (connection) connection.received(data);
    else if (!this.isOwn(peer)) this.tell({ type: "closed", peer, link: number, reason: "unknown" });
  }

  private opened(peer: Uint8Array, number: number, data: Uint8Array): void {
    if (!this.accept || this.isOwn(peer) || this.links.has(nameOf(peer, number)) || this.crowded(peer)) {
      this.tell({ type: "closed", peer, link: number, reason: "denied" });
      return;
    }
    const connection = this.connection(peer.slice(), number, "");
    connection.join(this.accept, true);
    connection.received(data);
  }

  private connection(peer: Uint8Array, number: number, via: string): RelayConnection {
    const connection = new RelayConnection(this, peer, number, this.maxFrame, `relay+${this.address.url}`, via);
    this.links.set(nameOf(peer, number), connection);
    return connection;
  }

  private closedThere(connection: RelayConnection, reason: string): void {
    if (connection.via && !connection.answered && NO_ROUTE_REASONS.includes(reason)) this.routeFailed(connection.via);
    connection.closedThere(reason);
  }

  /** The link of this number; number 0: all with that peer. */
  private named(peer: Uint8Array, number: number): RelayConnection[] {
    if (number) return [this.links.get(nameOf(peer, number))].filter((one) => one !== undefined);
    return [...this.links.values()].filter((connection) => equal(connection.peer, peer));
  }

  private crowded(peer: Uint8Array): boolean {
    return this.links.size >= MAX_LINKS || this.named(peer, 0).length >= MAX_LINKS_PEER;
  }

  private isOwn(peer: Uint8Array): boolean {
    return equal(peer, this.host.identity.signKey);
  }
}

function nameOf(peer: Uint8Array, number: number): string {
  return `${hex(peer)}/${number}`;
}
