/** Relays as a transport and as carriers of mail: home relays, where others reach us, and the way to everybody else's. */

import { mayName } from "../../addresses.js";
import { Unreachable } from "../../errors.js";
import type { SignId } from "../../identity/keys.js";
import type { Mail, MailCarrier } from "../../plugins/mailcarrier.js";
import { type Accept, type Connection, RELAYED, type Transport, type TransportHost } from "../../plugins/transport.js";
import { RelayMultiplexer } from "./multiplexer.js";
import { parseRelay, type RelayAddress, SCHEMES } from "./protocol/address.js";

const MAX_GUESTS = 16; // relays where we are a guest at the same time
const NO_ROUTE_FOR = 300_000; // milliseconds for which a relay that does not reach another one is not asked to again

export class Relay implements Transport, MailCarrier {
  readonly schemes = SCHEMES;
  readonly cost = RELAYED;
  readonly relayed = true;
  private host!: TransportHost;
  private readonly homes = new Map<SignId, RelayMultiplexer>();
  private readonly guests = new Map<string, RelayMultiplexer>();
  private readonly noRoutes = new Map<string, number>(); // which of our relays does not reach which other one, until when
  private closed = false;
  private readonly changed = (): void => {
    for (const relay of this.all()) relay.client.check();
  };

  attach(host: TransportHost): void {
    this.host = host;
    globalThis.addEventListener?.("online", this.changed);
  }

  /** At once: that the peer is absent shows as the loss of the connection, by Unreachable. */
  async dial(address: string, peer: SignId, accept: Accept): Promise<Connection> {
    const { multiplexer, via } = this.way(address, peer);
    return multiplexer.dial(peer, accept, via);
  }

  deposit(address: string, peer: SignId, mail: Mail): Promise<void> {
    const { multiplexer, via } = this.way(address, peer);
    return multiplexer.deposit(peer, mail, via);
  }

  /** Sign in at the relay and stay; it need not be there yet. */
  async listen(hint: string, accept: Accept): Promise<string[]> {
    const relay = parseRelay(hint);
    const multiplexer = new RelayMultiplexer(
      relay,
      this.host,
      true,
      () => {},
      (via) => this.noRoute(relay.key, via),
    );
    multiplexer.accept = accept;
    this.homes.set(relay.key, multiplexer);
    return [relay.text];
  }

  async close(): Promise<void> {
    this.closed = true;
    globalThis.removeEventListener?.("online", this.changed);
    for (const relay of this.all()) relay.close();
  }

  /** Over which relay, and whether that one is asked to reach the other. No stranger has us connect inside. */
  private way(address: string, peer: SignId): { multiplexer: RelayMultiplexer; via: string } {
    if (this.closed) throw new Unreachable("this node is stopping");
    const relay = parseRelay(address);
    const home = this.homes.get(relay.key);
    if (home) return { multiplexer: home, via: "" };
    const guest = this.guests.get(relay.text);
    if (guest) return { multiplexer: guest, via: "" };
    const now = performance.now();
    const leads = ({ client, address }: RelayMultiplexer): boolean =>
      client.up && (this.noRoutes.get(`${address.key} ${relay.text}`) ?? now) <= now;
    const through = [...this.homes.values()].find(leads);
    if (through) return { multiplexer: through, via: relay.text };
    if (!this.host.trusts(peer) && !mayName(relay.url))
      throw new Unreachable(`${relay.text}: only who is known here may name this address`);
    return { multiplexer: this.guest(relay), via: "" };
  }

  private noRoute(through: SignId, to: string): void {
    if (this.noRoutes.size >= MAX_GUESTS) this.noRoutes.clear();
    this.noRoutes.set(`${through} ${to}`, performance.now() + NO_ROUTE_FOR);
  }

  private guest(relay: RelayAddress): RelayMultiplexer {
    if (this.guests.size >= MAX_GUESTS)
      throw new Unreachable(`connections to ${MAX_GUESTS} other relays are in use already`);
    const multiplexer = new RelayMultiplexer(
      relay,
      this.host,
      false,
      () => this.guests.delete(relay.text),
      () => {},
    );
    this.guests.set(relay.text, multiplexer);
    return multiplexer;
  }

  private all(): RelayMultiplexer[] {
    return [...this.homes.values(), ...this.guests.values()];
  }
}
