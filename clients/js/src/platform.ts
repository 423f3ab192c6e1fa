/** A node: what applications call. The constructor wires all parts in one visible place. */

import { type Assembly, assemble, type Options } from "./assembly.js";
import { Clock } from "./clock.js";
import { type CircleName, Contacts } from "./contacts.js";
import { RECEIPT } from "./delivery/receipts.js";
import type { Ack } from "./delivery/wire.js";
import { Directory } from "./directory/directory.js";
import { OwnRecord } from "./directory/ownrecord.js";
import { Handled } from "./durable/handled.js";
import { Inbox } from "./durable/inbox.js";
import { Outbox } from "./durable/outbox.js";
import { LocalError, NotRunning } from "./errors.js";
import { Emitter, type Events } from "./events.js";
import type { Circle } from "./identity/circles.js";
import { type Identity, parseSignId, type SignId } from "./identity/keys.js";
import { parseTicket, ticket } from "./identity/ticket.js";
import { Depositor } from "./mail/depositing.js";
import { Mailer } from "./mail/mailer.js";
import type { Waiting } from "./message.js";
import { Messaging, PROTOCOL, SERIES } from "./messaging/api.js";
import { Dispatcher } from "./messaging/dispatch.js";
import { CONTACTS, FriendRequests } from "./peers/friendrequests.js";
import { Receipts } from "./peers/receipts.js";
import { Reception } from "./peers/reception.js";
import { Redelivery } from "./peers/redelivery.js";
import { Peers } from "./peers/registry.js";
import { SIGNALS, Signals } from "./peers/signals.js";
import { NodeUpstream } from "./peers/upstream.js";
import { schemeOf, type Transport, transportOf } from "./plugins/transport.js";
import type { Storage } from "./storage/contract.js";
import { NodeTransportHost } from "./transporthost.js";

const DEFAULT_TIMEOUT = 10; // seconds
const INTERNAL = [SIGNALS, RECEIPT, CONTACTS]; // protocols that the node itself speaks

export class Platform {
  readonly identity: Identity;
  readonly messaging: Messaging;
  readonly contacts: Contacts;
  readonly directory: Directory;
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  readonly transports: readonly Transport[];
  private readonly storage: Storage;
  private readonly handled: Handled;
  private readonly friendRequests: FriendRequests;
  private readonly reception: Reception;
  private readonly redelivery: Redelivery;
  private readonly ownRecord: OwnRecord;
  private readonly peers: Peers;
  private readonly mailer: Mailer;
  private readonly upstream: NodeUpstream;
  private readonly transportHost: NodeTransportHost;
  private readonly events = new Emitter();
  private readonly clock = new Clock((error) => this.events.emit("error", error, ""));
  private closed = false;
  private readonly online = (): void => this.peers.nudge();

  /** A node that is up. Throws LocalError (InsecureContext, AnotherTab), IdentityError or StorageError (StorageBlocked). */
  static async create(options: Options = {}): Promise<Platform> {
    const assembly = await assemble(options);
    const platform = new Platform(assembly);
    try {
      await platform.start(assembly.hints);
    } catch (error) {
      await platform.close(); // else the storage and its lock stay open, and a second try fails on them
      throw error;
    }
    return platform;
  }

  private constructor({ storage, saved, identity, run, transports }: Assembly) {
    const { signId } = identity;
    const failed = (error: Error, topic: string = ""): void => this.events.emit("error", error, topic);
    storage.watch?.(failed);
    const befriend = (circle: Circle): void => {
      for (const peer of [...circle]) this.directory.befriend(peer);
      this.friendRequests.changed();
      this.messaging.series.moved((peer) => this.contacts.scope(peer));
      this.lookAgain();
    };
    this.contacts = new Contacts(signId, storage, saved, befriend, failed);
    const dispatcher = new Dispatcher();
    this.storage = storage;
    this.identity = identity;
    this.transports = transports;
    this.directory = new Directory(storage, (peer) => this.contacts.known(peer), failed);
    this.ownRecord = new OwnRecord(identity);
    this.outbox = new Outbox(storage, run, (peer) => this.peers.get(peer as SignId).wake(), failed);
    const acknowledge = (peer: string, acks: Ack[]): void => this.peers.get(peer as SignId).exchange.acknowledge(acks);
    const largest = (peer: string): number => dispatcher.largest(this.contacts.scope(peer as SignId));
    this.handled = new Handled(storage, acknowledge, failed, largest);
    const receipts = new Receipts(this.outbox, failed);
    this.inbox = new Inbox(storage, this.handled, (...ended) => receipts.send(...ended), failed);
    const asks = (peer: SignId): void => this.events.emit("asking", peer);
    this.friendRequests = new FriendRequests(this.contacts, storage, this.outbox, asks, failed);
    const isAsking = (peer: string): boolean => this.friendRequests.isAsking(peer);
    this.reception = new Reception(this.inbox, INTERNAL, isAsking, (peer) => this.peers.leftAgain(peer));
    this.redelivery = new Redelivery(this.inbox, dispatcher, (peer) => this.contacts.scope(peer), failed);
    const { contacts, directory, outbox, inbox, handled, reception, ownRecord } = this;
    const { epoch } = run;
    this.peers = new Peers(
      identity,
      {
        epoch,
        contacts,
        dispatcher,
        directory,
        ownRecord,
        outbox,
        inbox,
        handled,
        reception,
        transports,
        clock: this.clock,
      },
      this.events,
    );
    this.upstream = new NodeUpstream(signId, outbox, this.peers, this.friendRequests, contacts);
    this.messaging = new Messaging(this.upstream, failed);
    this.messaging.changed = () => this.lookAgain();
    const signals = new Signals(this.peers, transports);
    dispatcher.attach(PROTOCOL, this.messaging);
    dispatcher.attach(SERIES, this.messaging.series);
    dispatcher.attach(SIGNALS, signals);
    dispatcher.attach(RECEIPT, receipts);
    dispatcher.attach(CONTACTS, this.friendRequests);
    this.events.on("connection", (peer) => this.friendRequests.ask(peer as SignId));
    this.mailer = new Mailer(
      identity,
      directory,
      outbox,
      this.peers,
      new Depositor(identity, ownRecord, directory, transports),
      async (peer) => (this.contacts.known(peer) ? undefined : this.reception.ready()),
      failed,
    );
    this.peers.observe(this.mailer);
    const trusts = (peer: SignId): boolean => contacts.known(peer) || directory.isAdded(peer);
    this.transportHost = new NodeTransportHost(identity, this.peers, signals, this.mailer, this.events, trusts);
  }

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
    return ticket(this.ownRecord.info);
  }

  /**
   * Learn of a peer by its ticket or signId, and put it into a circle, if one is named. Whose ticket is added, or who has a
   * circle, is dialled wherever it says, in this network, too: add no tickets that strangers send.
   */
  add(ticketOrKey: string, circle?: CircleName): SignId {
    let signId: SignId;
    if (ticketOrKey.trimStart().toLowerCase().startsWith("mm")) {
      const info = parseTicket(ticketOrKey, Date.now() / 1000);
      this.clock.heard(info.seq, true); // records are numbered by the milliseconds in which they were made
      this.directory.add(info);
      signId = info.signId;
    } else {
      signId = parseSignId(ticketOrKey);
    }
    if (circle) this.contacts[circle].add(signId);
    this.directory.befriend(signId);
    this.peers.find(signId)?.nudge();
    return signId;
  }

  /** Strangers that have added us as a friend, and since when (Unix milliseconds); `add(peer, "friends")` accepts one. */
  asking(): { peer: SignId; since: number }[] {
    return this.friendRequests.list();
  }

  /** Turn down one who asks: what it sends to friends is refused from now on. False when it does not ask. */
  decline(peer: string): boolean {
    const declined = this.friendRequests.forget(parseSignId(peer));
    if (declined) this.lookAgain();
    return declined;
  }

  /** Wait for a link to the peer. Throws Unreachable with the reason. */
  async connect(peer: string, timeout: number = DEFAULT_TIMEOUT): Promise<void> {
    if (this.closed) throw new NotRunning();
    await this.peers.get(parseSignId(peer)).connect(timeout * 1000);
  }

  /** The round trip to the peer in milliseconds; a link is dialled when there is none. */
  async ping(peer: string, timeout: number = DEFAULT_TIMEOUT): Promise<number> {
    await this.connect(peer, timeout);
    return this.peers.get(peer as SignId).link!.ping();
  }

  /** Over which address we speak to the peer: a relay's, "webrtc:" for a direct link, or undefined without a link. */
  path(peer: string): string | undefined {
    return this.peers.find(peer)?.link?.connection.address;
  }

  /**
   * All handlers are registered: what strangers send and nobody listens to is refused from now on. Without this call that
   * is so 10 seconds after the start; until then it is left with its sender, and requests wait for their handlers.
   */
  setUp(): void {
    this.reception.setUp();
  }

  /** Wait until all that waits for the peer is settled. */
  flush(peer: string): Promise<void> {
    return this.outbox.empty(parseSignId(peer));
  }

  /** What was sent and has not ended, to one peer or to all, of earlier runs, too; not what peers keep for a handler. */
  waiting(peer?: string): Waiting[] {
    return this.outbox.waiting(peer === undefined ? undefined : parseSignId(peer));
  }

  /**
   * Take a message back, by the id of its Delivery, unless it has gone out; whether it was. Its `done()` throws Cancelled.
   * Throws StorageError.
   */
  cancel(id: string): Promise<boolean> {
    return this.outbox.cancel(id);
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
    this.upstream.close();
    this.reception.close();
    this.redelivery.close();
    this.messaging.close();
    this.inbox.close();
    await this.handled.close();
    await this.outbox.close();
    this.mailer.close();
    this.peers.close(new NotRunning());
    for (const transport of this.transports) await transport.close();
    await this.storage.close();
  }

  /** Listen at these hints, and go on with what waits. */
  private async start(hints: readonly string[]): Promise<void> {
    await this.directory.open();
    await this.handled.open();
    await this.inbox.open();
    await this.outbox.open();
    await this.friendRequests.open();
    await this.inbox.begin();
    this.redelivery.begin();
    for (const transport of this.transports) transport.attach(this.transportHost);
    for (const hint of hints) {
      const transport = transportOf(schemeOf(hint), this.transports);
      if (!transport) throw new LocalError(`${hint}: there is no transport for it`);
      this.ownRecord.add(await transport.listen(hint, this.peers.accept));
    }
    this.reception.begin();
    globalThis.addEventListener?.("online", this.online);
    for (const peer of this.outbox.peers()) this.peers.get(peer as SignId).wake();
    const { devices, friends } = this.contacts;
    for (const peer of [...devices, ...friends]) if (peer !== this.signId) this.peers.get(peer).introduce();
  }

  /** There is a new handler, or a new friend: what waited for one is served. */
  private lookAgain(): void {
    this.reception.subscribed();
    this.redelivery.look();
  }
}
