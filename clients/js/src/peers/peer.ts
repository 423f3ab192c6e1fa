/** One remote peer: its links, and the loop that dials it while something waits. */

import type { Clock } from "../clock.js";
import { type Ack, decodeResume, type Frame, MAX_HEAD, TOO_LARGE } from "../delivery/wire.js";
import type { Directory } from "../directory/directory.js";
import type { OwnRecord } from "../directory/ownrecord.js";
import { asError, LocalError, Unreachable } from "../errors.js";
import type { SignId } from "../identity/keys.js";
import { Backoff } from "../links/backoff.js";
import type { Dialer } from "../links/dialer.js";
import type { LinkedPeer } from "../links/factory.js";
import type { Link } from "../links/link.js";
import { best, type Way } from "../links/paths.js";
import { PUBLIC_SIZE } from "../messaging/options.js";
import { dialable, type Transport } from "../plugins/transport.js";
import { Exchange, type ExchangeContext } from "./exchange.js";
import { PathManager, type PeerLinks, REPLACED } from "./pathmanager.js";

const LIFETIME = 3_600_000; // milliseconds after which a link is replaced by a fresh one
const RENEW_AGAIN = 60_000; // milliseconds after which that is tried again
const LONGEST_PAUSE = 60_000; // milliseconds between two attempts to reach the peer
const GLARE = 10_000; // milliseconds between two links within which both ends may have dialled at once
const LONGEST_TIMER = 3_600_000; // milliseconds
const DUPLICATE = "duplicate"; // the reason for closing the lesser of two links
const TAKEN_OVER = "taken-over"; // the reason for closing links of an older run

/** What becomes of a peer. */
export interface PeerEvents {
  reached(peer: SignId): void;
  /** It goes on over this address. */
  moved(peer: SignId, address: string): void;
  lost(peer: SignId, reason: string): void;
  /** An attempt to reach it failed. */
  unreachable(peer: SignId): void;
  failed(error: Error): void;
}

/** What a peer stands on. */
export interface PeerContext extends ExchangeContext {
  readonly ownRecord: OwnRecord;
  readonly clock: Clock;
  readonly directory: Directory;
  readonly dialer: Dialer;
  readonly transports: readonly Transport[];
  readonly events: PeerEvents;
}

/** After these words of a peer it does not come back soon; a cut, and a link that was too many, are something else. */
const LEAVING = /^closed by the peer: (closed|stopping|removed|blocked)\b/;

/** `own` is our key. `reason` says why there is no link, as far as it is known. */
export class Peer implements LinkedPeer, PeerLinks {
  readonly exchange: Exchange;
  reason = "";
  private readonly links: Link[] = []; // all that were up and are not lost
  private left = false; // whether the peer closed the last one
  private readonly paths: PathManager;
  private readonly backoff = new Backoff(LONGEST_PAUSE);
  private dialling = false;
  private resting = false; // between two attempts
  private nudged: () => void = () => {};
  private arrivals: { resolve(): void; reject(error: Error): void }[] = [];
  private renewal: ReturnType<typeof setTimeout> | undefined;
  private expiry: ReturnType<typeof setTimeout> | undefined;
  private expiryDue = Infinity;
  private introducing = false;
  private closed = false;

  constructor(
    private readonly own: SignId,
    readonly signId: SignId,
    private readonly context: PeerContext,
    askedBefore = 0,
  ) {
    this.paths = new PathManager(this);
    this.exchange = new Exchange(
      signId,
      context,
      () => this.reach(),
      () => this.paths.requestSent(),
      askedBefore,
    );
  }

  /** The one in use. */
  get link(): Link | undefined {
    return this.exchange.link;
  }

  /** All that are up. */
  get ready(): Link[] {
    return this.links.filter((link) => link.ready);
  }

  get known(): boolean {
    return this.context.contacts.known(this.signId);
  }

  /** By the addresses of its record; without any it may be at one of our own relays. */
  ways(): Way[] {
    const { directory, ownRecord, transports } = this.context;
    const ways = dialable(directory.find(this.signId)?.addresses ?? ownRecord.addresses, transports);
    return ways.map(({ address, transport: { cost, relayed, signalling } }) => ({
      address,
      cost,
      relayed,
      signalled: signalling === true,
    }));
  }

  dial(ways: Way[]): Promise<Link> {
    return this.context.dialer.dial(
      this.signId,
      ways.map(({ address }) => address),
    );
  }

  /** Whether nothing here needs this object. */
  get idle(): boolean {
    return !this.dialling && !this.links.length && !this.wanted;
  }

  /** Something durable waits. */
  wake(): void {
    this.watchExpiry();
    if (this.link) this.exchange.arm();
    else if (this.resting) this.context.events.unreachable(this.signId);
    else this.reach();
  }

  /** Try to reach the peer, and go on while something waits for it. */
  reach(): void {
    if (!this.dialling && !this.link && !this.closed) void this.keepDialling();
  }

  /** Try until it was reached once: what waits for us at its side need not wait for its next attempt. */
  introduce(): void {
    this.introducing = true;
    this.reach();
  }

  /** There is news of the peer: do not wait for the next attempt. */
  nudge(): void {
    this.backoff.reset();
    this.paths.peerMayHaveMoved();
    this.nudged();
  }

  /** Wait for a link, dialled when there is none. */
  async connect(timeout: number): Promise<void> {
    if (this.link?.ready) return;
    await new Promise<void>((resolve, reject) => {
      const late = (): void => reject(new Unreachable(`${this.signId}: ${this.reason || "no answer"}`));
      const timer = setTimeout(late, timeout);
      this.arrivals.push({
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.nudge();
      this.reach();
    });
  }

  disconnect(reason: string): void {
    for (const link of [...this.links]) link.close(reason);
  }

  /** End everything; what waits is kept. */
  close(error: Error): void {
    this.closed = true;
    this.paths.stop();
    clearTimeout(this.renewal);
    clearTimeout(this.expiry);
    this.nudged();
    this.exchange.flush();
    this.disconnect("stopping");
    this.exchange.pending.close(error);
    for (const { reject } of this.arrivals.splice(0)) reject(error);
  }

  resume(): Uint8Array {
    return this.exchange.resume();
  }

  /** A link is up: use it, unless it is the lesser of two that both ends dialled at once. */
  linkReady(link: Link, resume: Uint8Array): void {
    const state = decodeResume(resume);
    link.epoch = state.epoch;
    if (this.known) this.context.clock.heard(state.now, false);
    this.links.push(link);
    const active = this.link;
    if (this.closed) {
      link.close("stopping");
      return;
    }
    if (!active || active.epoch !== link.epoch) {
      this.use(link, state.acks);
      if (active) this.closeOlderRuns(link);
      else this.context.events.reached(this.signId);
      return;
    }
    const twins = this.ready.filter((other) => other !== link && other.kind === link.kind);
    const twin = twins.includes(active) ? active : twins.at(-1);
    if (twin && !this.supersedes(link, twin)) {
      link.close(DUPLICATE);
      return;
    }
    if (active === twin || !active.ready) this.use(link, state.acks);
    else this.paths.joined();
    for (const other of twins) if (other !== twin) other.close(REPLACED); // who answers over none keeps few of them
    if (twin) this.closeOnceAnswered(twin, link, twin.dialled === link.dialled ? REPLACED : DUPLICATE);
  }

  linkLost(link: Link, error: Error): void {
    const position = this.links.indexOf(link);
    if (position >= 0) this.links.splice(position, 1);
    if (error.message.endsWith(TOO_LARGE)) this.exchange.pending.refuseLargest(PUBLIC_SIZE);
    if (link !== this.link) {
      if (this.link) this.exchange.sayAgain();
      this.paths.lost(link);
      return;
    }
    clearTimeout(this.renewal);
    const other = best(this.ready, undefined, 0, 0);
    this.exchange.pause(other !== undefined);
    this.paths.lost(link);
    if (other) {
      this.use(other);
      this.exchange.announceLink();
      return;
    }
    this.reason = error.message;
    this.left = LEAVING.test(this.reason);
    this.context.events.lost(this.signId, this.reason);
    if (this.exchange.useful) this.backoff.reset();
    this.watchExpiry();
    if (this.reason.endsWith(TAKEN_OVER))
      this.context.events.failed(
        new LocalError(`another node runs with this key: ${this.signId} now talks to that one`),
      );
    else if (this.wanted) this.reach();
  }

  /** Whom we have asked may answer as largely as friends. */
  largestFrame(): number {
    const { contacts, dispatcher } = this.context;
    const scope = this.exchange.pending.asked ? "friends" : contacts.scope(this.signId);
    return dispatcher.largest(scope) + MAX_HEAD;
  }

  frameReceived(link: Link, frame: Frame): void {
    if (link !== this.link) this.paths.frameArrivedElsewhere();
    this.exchange.frameReceived(frame);
  }

  againReceived(lane: number, epoch: number): void {
    this.exchange.sendAgain(lane, epoch);
  }

  linkWritable(link: Link): void {
    if (link === this.link) this.exchange.flush();
  }

  /** Another run of the peer's node is there now. */
  private closeOlderRuns(link: Link): void {
    for (const other of [...this.links]) if (other.epoch !== link.epoch) other.close(TAKEN_OVER);
  }

  /** Before `link` is up at the other end, `old` may be the last one there, which would seem to be disconnected. */
  private closeOnceAnswered(old: Link, link: Link, reason: string): void {
    link.ping().then(
      () => old.close(reason),
      () => {}, // `link` is gone, and `old` is used
    );
  }

  private get wanted(): boolean {
    return (
      this.introducing ||
      this.arrivals.length > 0 ||
      this.exchange.pending.some ||
      !this.context.outbox.isEmpty(this.signId)
    );
  }

  /** Of two links that both ends dialled at once, the one dialled by the smaller signId stays; else the newer. */
  private supersedes(link: Link, old: Link): boolean {
    if (!old.ready || link.dialled === old.dialled || link.epoch !== old.epoch) return true;
    if (link.opened - old.opened > GLARE) return true; // no coincidence: the other end has lost the old one
    return link.dialled === this.own < this.signId;
  }

  /** Go on over `link`; `acks` is what the peer said it has, what it lacks is sent again. */
  use(link: Link, acks: Ack[] = []): void {
    this.reason = "";
    this.exchange.pending.reached();
    this.introducing = false;
    this.exchange.resumeOver(link, acks);
    this.nudged();
    clearTimeout(this.renewal);
    if (link.dialled) this.renewAfter(LIFETIME);
    this.paths.chosen();
    this.context.events.moved(this.signId, link.connection.address);
    for (const { resolve } of this.arrivals.splice(0)) resolve();
  }

  /** A fresh link has fresh keys; the old one closes when it is up, and nothing is lost between them. */
  private renewAfter(delay: number): void {
    clearTimeout(this.renewal);
    this.renewal = setTimeout(() => {
      if (this.link)
        this.context.dialer.dial(this.signId, [this.link.dialledAt]).catch(() => this.renewAfter(RENEW_AGAIN));
    }, delay);
  }

  private async keepDialling(): Promise<void> {
    this.dialling = true;
    while (!this.link && !this.closed) {
      try {
        await this.dial(this.ways().filter(({ signalled }) => !signalled));
      } catch (error) {
        this.reason = asError(error).message;
        this.exchange.pending.notReached(`${this.signId}: ${this.reason}`, this.left);
        this.context.events.unreachable(this.signId);
      }
      if (this.link || this.closed || !this.wanted) break;
      await this.rest(this.backoff.next());
    }
    this.dialling = false;
  }

  /** Wait, or less when there is news. */
  private async rest(delay: number): Promise<void> {
    this.resting = true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.nudged = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.resting = false;
  }

  /** One timer for all that waits. */
  private watchExpiry(): void {
    const due = this.link ? Infinity : this.exchange.nextExpiry;
    if (this.closed || due >= this.expiryDue) return;
    clearTimeout(this.expiry);
    this.expiryDue = due;
    this.expiry = setTimeout(
      () => {
        this.expiryDue = Infinity;
        this.exchange.expire();
        this.watchExpiry();
      },
      Math.min(Math.max(due - Date.now(), 0), LONGEST_TIMER),
    );
  }
}
