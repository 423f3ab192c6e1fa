/** Relays as a transport: home relays, where others reach us, and the way to everybody else's. */

import { Unreachable } from "../../errors.js";
import type { SignId } from "../../identity/keys.js";
import { RELAYED } from "../../links/paths.js";
import type { Accept, Connection, Mail, Transport, TransportNode } from "../../plugins/transport.js";
import { parseRelay, SCHEMES, type RelayAddress } from "./protocol/address.js";
import { Station } from "./multiplexer.js";

const MAX_GUESTS = 16; // relays where we are a guest at the same time
const NO_LANE = 300_000; // milliseconds for which a relay that does not reach another one is not asked to again

export class Relay implements Transport {
  readonly schemes = SCHEMES;
  readonly cost = RELAYED;
  private node!: TransportNode;
  private readonly homes = new Map<SignId, Station>();
  private readonly guests = new Map<string, Station>();
  private readonly noLanes = new Map<string, number>(); // which of our relays does not reach which other one, until when
  private closed = false;
  private readonly changed = (): void => {
    for (const station of this.stations()) station.client.check();
  };

  attach(node: TransportNode): void {
    this.node = node;
    globalThis.addEventListener?.("online", this.changed);
  }

  /** At once: that the peer is absent shows as the loss of the connection, by Unreachable. */
  async dial(address: string, peer: SignId, accept: Accept): Promise<Connection> {
    const { station, via } = this.way(address);
    return station.dial(peer, accept, via);
  }

  deposit(address: string, peer: SignId, mail: Mail): Promise<void> {
    const { station, via } = this.way(address);
    return station.deposit(peer, mail, via);
  }

  /** Sign in at the relay and stay; it need not be there yet. */
  async listen(hint: string, accept: Accept): Promise<string[]> {
    const relay = parseRelay(hint);
    const station = new Station(relay, this.node, true, () => {}, (via) => this.noLane(relay.key, via));
    station.accept = accept;
    this.homes.set(relay.key, station);
    return [relay.text];
  }

  async close(): Promise<void> {
    this.closed = true;
    globalThis.removeEventListener?.("online", this.changed);
    for (const station of this.stations()) station.close();
  }

  /** Over which relay, and whether that one is asked to reach the other. */
  private way(address: string): { station: Station; via: string } {
    if (this.closed) throw new Unreachable("this node is stopping");
    const relay = parseRelay(address);
    const home = this.homes.get(relay.key);
    if (home) return { station: home, via: "" };
    const guest = this.guests.get(relay.text);
    if (guest) return { station: guest, via: "" };
    const now = performance.now();
    const leads = ({ client, address }: Station): boolean => client.up && (this.noLanes.get(`${address.key} ${relay.text}`) ?? now) <= now;
    const through = [...this.homes.values()].find(leads);
    return through ? { station: through, via: relay.text } : { station: this.guest(relay), via: "" };
  }

  private noLane(through: SignId, to: string): void {
    if (this.noLanes.size >= MAX_GUESTS) this.noLanes.clear();
    this.noLanes.set(`${through} ${to}`, performance.now() + NO_LANE);
  }

  private guest(relay: RelayAddress): Station {
    if (this.guests.size >= MAX_GUESTS) throw new Unreachable(`connections to ${MAX_GUESTS} other relays are in use already`);
    const station = new Station(relay, this.node, false, () => this.guests.delete(relay.text), () => {});
    this.guests.set(relay.text, station);
    return station;
  }

  private stations(): Station[] {
    return [...this.homes.values(), ...this.guests.values()];
  }
}
