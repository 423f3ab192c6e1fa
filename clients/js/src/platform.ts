/** A node: keys, storage, transports, peers and messaging, wired in one place. */

import { decode, encode, Reader } from "./codec.js";
import { fromBigEndian, random } from "./bytes.js";
import { Delivery } from "./message.js";
import { Inbox } from "./durable/inbox.js";
import { Outbox } from "./durable/outbox.js";
import { SENT } from "./delivery/outcome.js";
import { MAX_PAYLOAD, type Batch, type Event, type Record as Message, type Request } from "./delivery/wire.js";
import { asError, ControlTopic, InvalidPayload, InvalidTopic, LocalError, Refused } from "./errors.js";
import { Emitter, type Events } from "./events.js";
import { Circle, Circles, isControlTopic, type Scope } from "./identity/circles.js";
import { Identity, parseSignId, type SignId } from "./identity/keys.js";
import { createNodeInfo, type NodeInfo } from "./identity/nodeinfo.js";
import { parseTicket, ticket } from "./identity/ticket.js";
import { Messaging, PROTOCOL, stopping, type Upstream } from "./messaging/api.js";
import { NOBODY, type Result } from "./messaging/subscriber.js";
import { checkTopic } from "./messaging/patterns.js";
import { Directory } from "./directory/directory.js";
import type { Exchange } from "./peers/exchange.js";
import type { Link } from "./links/link.js";
import { Links } from "./links/factory.js";
import { Mailer, type MailNode } from "./mail/mailer.js";
import type { Way } from "./links/paths.js";
import { Peer, type PeerNode } from "./peers/peer.js";
import { dialable, schemeOf, transportOf, type Transport, type TransportNode } from "./plugins/transport.js";
import { Relay } from "./transports/relay/transport.js";
import { ADDRESS as DIRECT } from "./transports/webrtc/connection.js";
import { hasWebRTC, WebRTC } from "./transports/webrtc/transport.js";
import type { Storage } from "./storage/contract.js";
import { IndexedDBStorage } from "./storage/indexeddb.js";
import { MemoryStorage } from "./storage/memory.js";

const SIGNALS = "rtc"; // the protocol in which transports speak to each other; the topic is the scheme
const VALID = 14 * 24 * 3600; // seconds that a record of ours is good
const MAX_PEERS = 1000; // beyond which those who are strangers and away are forgotten
const DEFAULT_TIMEOUT = 10; // seconds

export interface Options {
  /** What is kept over a reload: IndexedDB where there is one, else memory, unless told. */
  storage?: Storage;
  /** Home relays, where others reach us: `relay+wss://host/KEY`. */
  relays?: readonly string[];
  /** Further ways to move frames. */
  transports?: readonly Transport[];
  /** STUN and TURN servers for direct links (WebRTC); by default none, so that nobody is asked. */
  iceServers?: RTCIceServer[];
  /** Whether direct links are made, where the browser can: peers then learn our IP addresses. On by default. */
  direct?: boolean;
}

export class Platform implements PeerNode, TransportNode, MailNode, Upstream {
  readonly messaging: Messaging;
  readonly friends: Circle;
  readonly devices: Circle;
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  private readonly circles: Circles;
  readonly directory: Directory;
  readonly transports: readonly Transport[];
  private readonly mailer: Mailer;
  private readonly links: Links;
  private readonly peers = new Map<string, Peer>();
  private readonly events = new Emitter();
  private own!: NodeInfo;
  private addresses: string[] = [];
  private closed = false;
  private readonly online = (): void => {
    for (const peer of this.peers.values()) peer.nudge();
  };

  /** A node that is up. Throws LocalError, IdentityError or StorageError. */
  static async create(options: Options = {}): Promise<Platform> {
    const storage = options.storage ?? (globalThis.indexedDB ? await IndexedDBStorage.open() : new MemoryStorage());
    const kept = new Map(await storage.read("node/"));
    const identity = await identityIn(storage, kept);
    const run = (kept.has("node/run") ? new Reader(kept.get("node/run")!).uint() : 0) + 1;
    await storage.write([["node/run", encode(run)]], true);
    const platform = new Platform(storage, identity, run, kept, transportsOf(options));
    await platform.start(options.relays ?? []);
    return platform;
  }

  private constructor(
    private readonly storage: Storage,
    readonly identity: Identity,
    run: number,
    kept: Map<string, Uint8Array>,
    transports: readonly Transport[],
  ) {
    const failed = (error: Error): void => this.failed(error);
    const epoch = fromBigEndian(random(6)) + 1; // also the name of this run for requests
    this.instance = epoch;
    this.devices = this.circle("devices", kept);
    this.friends = this.circle("friends", kept);
    this.circles = new Circles(this.devices, this.friends, identity.signId);
    this.outbox = new Outbox(storage, run, epoch, (peer) => this.peer(peer as SignId).wake(), failed);
    this.inbox = new Inbox(storage, (peer, acks) => this.peer(peer as SignId).exchange.acknowledge(acks), failed);
    this.directory = new Directory(storage, (peer) => this.circles.known(peer), failed);
    const record = (): Uint8Array => this.record();
    this.links = new Links(identity, record, (info) => this.peerOf(info), (peer) => this.peer(peer));
    this.messaging = new Messaging(this, (error, topic) => this.failed(error, topic));
    this.transports = transports;
    this.mailer = new Mailer(this);
  }

  readonly instance: number;

  get signId(): SignId {
    return this.identity.signId;
  }

  on<E extends keyof Events>(event: E, listener: (...values: Events[E]) => void): void {
    this.events.on(event, listener);
  }

  off<E extends keyof Events>(event: E, listener: (...values: Events[E]) => void): void {
    this.events.off(event, listener);
  }

  /** One pasteable string that says who this is and where it is reached. */
  ticket(): string {
    this.record();
    return ticket(this.own);
  }

  /** Learn of a peer by its ticket or signId, and put it into a circle, if one is named. */
  add(ticketOrKey: string, circle?: "friends" | "devices"): SignId {
    let signId: SignId;
    if (ticketOrKey.trimStart().toLowerCase().startsWith("mm")) {
      const info = parseTicket(ticketOrKey, Date.now() / 1000);
      this.directory.learn(info);
      signId = info.signId;
    } else {
      signId = parseSignId(ticketOrKey);
    }
    if (circle) this[circle].add(signId);
    this.directory.befriend(signId);
    this.peers.get(signId)?.nudge();
    return signId;
  }

  /** Wait for a link to the peer. Throws Unreachable with the reason. */
  async connect(peer: string, timeout: number = DEFAULT_TIMEOUT): Promise<void> {
    this.checkOpen();
    await this.peer(parseSignId(peer)).connect(timeout * 1000);
  }

  /** The round trip to the peer in milliseconds; a link is dialled when there is none. */
  async ping(peer: string, timeout: number = DEFAULT_TIMEOUT): Promise<number> {
    await this.connect(peer, timeout);
    return this.peer(peer as SignId).link!.ping();
  }

  /** Over which address we speak to the peer: a relay's, "webrtc:" for a direct link, or undefined without a link. */
  path(peer: string): string | undefined {
    return this.peers.get(peer)?.link?.connection.address;
  }

  isConnected(peer: string): boolean {
    return this.peers.get(peer)?.link !== undefined;
  }

  /** Wait until all that waits for the peer is settled. */
  flush(peer: string): Promise<void> {
    return this.outbox.empty(parseSignId(peer));
  }

  /** How many messages sent in this run are not settled yet. */
  unsettled(peer: string): number {
    return this.outbox.unsettled(peer);
  }

  /** Stop. What waits is kept, and goes on after the next start. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    globalThis.removeEventListener?.("online", this.online);
    this.messaging.close();
    await this.outbox.close();
    await this.inbox.close();
    this.mailer.close();
    this.links.close();
    for (const peer of this.peers.values()) peer.close(stopping());
    for (const transport of this.transports) await transport.close();
    await this.storage.close();
  }

  // What messaging calls.

  async post(destination: string, lane: number, event: Event, realtime: boolean, expires: number): Promise<Delivery> {
    this.checkSending(event);
    const peer = this.peer(parseSignId(destination));
    if (realtime) {
      const delivery = new Delivery(destination);
      const sent = peer.exchange.sendEvent(event);
      delivery.settle(sent ? SENT : { state: "dropped", handled: false, reason: peer.reason || "no link is up" });
      return delivery;
    }
    await this.outbox.room(destination);
    return this.outbox.put(destination, lane, event.topic, event.protocol, event.payload, expires);
  }

  async ask(destination: string, event: Event, timeout: number): Promise<Uint8Array> {
    this.checkSending(event);
    return this.peer(parseSignId(destination)).exchange.request(event.topic, event.protocol, event.payload, timeout);
  }

  // What peers call.

  scope(peer: SignId): Scope {
    return this.circles.scope(peer);
  }

  event(scope: Scope, peer: SignId, { topic, protocol, payload }: Event): void {
    if (!isAllowed(topic)) return;
    if (protocol === PROTOCOL) this.messaging.take(scope, topic, peer, payload, () => {});
    else if (protocol === SIGNALS) transportOf(topic, this.transports)?.signalled?.(peer, payload);
  }

  message(scope: Scope, peer: SignId, { topic, protocol, payload }: Message, finished: (result: Result) => void): void {
    if (!isAllowed(topic)) finished({ error: new Refused("bad-topic") });
    else if (protocol !== PROTOCOL) finished(NOBODY);
    else this.messaging.take(scope, topic, peer, payload, finished);
  }

  request(scope: Scope, peer: SignId, { topic, protocol, payload }: Request, finished: (result: Result<Uint8Array>) => void): void {
    if (!isAllowed(topic)) finished({ error: new Refused("bad-topic") });
    else if (protocol !== PROTOCOL) finished(NOBODY);
    else this.messaging.takeRequest(scope, topic, peer, payload, finished);
  }

  /** By the addresses of its record; without any it may be at one of our own relays. */
  ways(peer: SignId): Way[] {
    const addresses = this.directory.find(peer)?.addresses ?? this.addresses;
    const ways = dialable(addresses, this.transports);
    return ways.map(({ address, transport }) => ({ address, cost: transport.cost, overLink: transport.overLink === true }));
  }

  dial(peer: SignId, addresses: readonly string[]): Promise<Link> {
    return this.links.dial(peer, addresses, this.transports);
  }

  known(peer: SignId): boolean {
    return this.circles.known(peer);
  }

  moved(peer: SignId, address: string): void {
    this.events.emit("path", peer, address);
  }

  connected(peer: SignId): void {
    this.events.emit("connection", peer);
  }

  disconnected(peer: SignId, reason: string): void {
    this.events.emit("disconnected", peer, reason);
    if (this.peers.size > MAX_PEERS) this.forgetStrangers();
  }

  failed(error: Error, topic: string = ""): void {
    this.events.emit("error", error, topic);
  }

  present(peer: SignId): void {
    this.peers.get(peer)?.nudge();
  }

  unreachable(peer: SignId): void {
    void this.mailer.away(peer);
  }

  // What transports and mail call.

  linked(peer: SignId): boolean {
    return this.isConnected(peer);
  }

  /** At once or not at all: a signal that is late is of no use. */
  signal(peer: SignId, scheme: string, data: Uint8Array): boolean {
    const there = this.peers.get(peer);
    return there?.link !== undefined && there.exchange.sendEvent({ topic: scheme, protocol: SIGNALS, payload: data });
  }

  mailCame(envelope: Uint8Array, taken: (good: boolean) => void): void {
    this.mailer.came(envelope, taken);
  }

  mailEnded(peer: SignId, state: string): void {
    this.mailer.ended(peer, state);
  }

  exchange(peer: SignId): Exchange {
    return this.peer(peer).exchange;
  }

  waits(peer: SignId): boolean {
    return !this.outbox.isEmpty(peer);
  }

  letter(peer: SignId, room: number): { batches: Batch[]; mailed: () => void } {
    return this.outbox.sender(peer).letter(room);
  }

  forgetMailed(peer: SignId): void {
    this.outbox.sender(peer).forgetMailed();
  }

  // Inside.

  private async start(relays: readonly string[]): Promise<void> {
    await this.directory.open();
    await this.inbox.open();
    await this.outbox.open();
    for (const transport of this.transports) transport.attach(this);
    for (const relay of relays) {
      const transport = transportOf(schemeOf(relay), this.transports);
      if (!transport) throw new LocalError(`${relay}: there is no transport for it`);
      this.addresses.push(...(await transport.listen(relay, this.links.accept)));
    }
    const direct = transportOf("webrtc", this.transports);
    if (direct) this.addresses.push(...(await direct.listen(DIRECT, this.links.accept)));
    globalThis.addEventListener?.("online", this.online);
    for (const peer of this.outbox.peers()) this.peer(peer as SignId).wake();
    for (const peer of [...this.devices, ...this.friends]) if (peer !== this.signId) this.peer(peer).introduce();
  }

  /** Our own record, signed anew in time. */
  record(): Uint8Array {
    const now = Math.floor(Date.now() / 1000);
    const old = this.own as NodeInfo | undefined;
    if (!old || old.expires < now + VALID / 2 || old.addresses.length !== this.addresses.length) {
      const seq = Math.max(Date.now(), (old?.seq ?? 0) + 1);
      this.own = createNodeInfo(this.identity, this.addresses, seq, now + VALID);
    }
    return this.own.record;
  }

  private peerOf(info: NodeInfo): Peer {
    this.directory.learn(info);
    return this.peer(info.signId);
  }

  private peer(signId: SignId): Peer {
    let peer = this.peers.get(signId);
    if (!peer) this.peers.set(signId, (peer = new Peer(this, signId)));
    return peer;
  }

  /** Those to whom nobody here has anything to say; what was handled of them is kept. */
  private forgetStrangers(): void {
    for (const [signId, peer] of this.peers) if (peer.idle && !this.circles.known(signId)) this.peers.delete(signId);
  }

  private circle(name: string, kept: Map<string, Uint8Array>): Circle {
    const members = kept.has(`node/${name}`) ? (decode(kept.get(`node/${name}`)!) as string[]) : [];
    const circle: Circle = new Circle(name, members, () => {
      const saved = this.storage.write([[`node/${name}`, encode([...circle])]], true);
      saved.catch((error: unknown) => this.failed(asError(error)));
      for (const peer of circle) this.directory.befriend(peer);
    });
    return circle;
  }

  private checkSending(event: Event): void {
    this.checkOpen();
    if (isControlTopic(event.topic)) throw new ControlTopic(`${event.topic} steers a node and is not sent to others`);
    if (event.payload.length > MAX_PAYLOAD) throw new InvalidPayload(`a payload has at most ${MAX_PAYLOAD} bytes`);
  }

  private checkOpen(): void {
    if (this.closed) throw stopping();
  }
}

function transportsOf({ transports = [], iceServers = [], direct = true }: Options): Transport[] {
  const own = [...transports.flatMap(({ schemes }) => schemes)];
  const webrtc = direct && hasWebRTC() && !own.includes("webrtc") ? [new WebRTC({ iceServers })] : [];
  return [new Relay(), ...webrtc, ...transports];
}

/** Whether a peer may use `topic`: well formed, and no control topic. */
function isAllowed(topic: string): boolean {
  try {
    checkTopic(topic);
    return !isControlTopic(topic);
  } catch (error) {
    if (error instanceof InvalidTopic) return false;
    throw error;
  }
}

/** The key of this node; made and kept when there is none. One that is there and cannot be used is never replaced. */
async function identityIn(storage: Storage, kept: Map<string, Uint8Array>): Promise<Identity> {
  const secret = kept.get("node/identity");
  if (secret) return Identity.fromSecret(secret);
  const identity = Identity.generate();
  await storage.write([["node/identity", identity.secret()]], true);
  return identity;
}
