/** One remote peer: its links, and the loop that dials it while something waits. */

import { decodeResume, type Ack, type Frame } from "../delivery/wire.js";
import { asError, LocalError, Unreachable } from "../errors.js";
import type { SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import { Backoff } from "../links/backoff.js";
import { Exchange, type ExchangeNode } from "./exchange.js";
import { Keeper, REPLACED, type Bundle } from "./pathmanager.js";
import type { Link } from "../links/link.js";
import type { PeerOfLink } from "../links/factory.js";
import { best, type Way } from "../links/paths.js";

const LIFETIME = 3_600_000; // milliseconds after which a link is replaced by a fresh one
const RENEW_AGAIN = 60_000;
const LONGEST_PAUSE = 60_000;
const GLARE = 10_000; // between two links within which both ends may have dialled at once
const LONGEST_TIMER = 3_600_000;
const DUPLICATE = "duplicate"; // reasons for closing a link
const TAKEN_OVER = "taken-over";

/** What a peer needs of the node it belongs to. */
export interface PeerNode extends ExchangeNode {
  readonly signId: SignId;
  /** How the peer can be dialled from here. */
  ways(peer: SignId): Way[];
  dial(peer: SignId, addresses: readonly string[]): Promise<Link>;
  known(peer: SignId): boolean;
  connected(peer: SignId): void;
  /** It goes on over this address. */
  moved(peer: SignId, address: string): void;
  disconnected(peer: SignId, reason: string): void;
  /** An attempt to reach it failed. */
  unreachable(peer: SignId): void;
  failed(error: Error): void;
}

/** `reason` says why there is no link, as far as it is known. */
export class Peer implements PeerOfLink, Bundle {
  readonly exchange: Exchange;
  reason = "";
  private readonly links: Link[] = []; // all that were up and are not lost
  private readonly keeper: Keeper;
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
    private readonly node: PeerNode,
    readonly signId: SignId,
  ) {
    this.keeper = new Keeper(this);
    this.exchange = new Exchange(node, signId, () => this.reach(), () => this.keeper.said());
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
    return this.node.known(this.signId);
  }

  ways(): Way[] {
    return this.node.ways(this.signId);
  }

  dial(ways: Way[]): Promise<Link> {
    return this.node.dial(this.signId, ways.map(({ address }) => address));
  }

  /** Whether nothing here needs this object. */
  get idle(): boolean {
    return !this.dialling && !this.links.length && !this.wanted;
  }

  /** Something durable waits. */
  wake(): void {
    this.watchExpiry();
    if (this.link) this.exchange.arm();
    else if (this.resting) this.node.unreachable(this.signId);
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
    this.keeper.news();
    this.nudged();
  }

  /** Wait for a link, dialled when there is none. */
  async connect(timeout: number): Promise<void> {
    if (this.link?.ready) return;
    await new Promise<void>((resolve, reject) => {
      const late = (): void => reject(new Unreachable(`${this.signId}: ${this.reason || "no answer"}`));
      const timer = setTimeout(late, timeout);
      this.arrivals.push({ resolve: () => (clearTimeout(timer), resolve()), reject: (error) => (clearTimeout(timer), reject(error)) });
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
    this.keeper.rest();
    clearTimeout(this.renewal);
    clearTimeout(this.expiry);
    this.nudged();
    this.exchange.flush();
    this.disconnect("stopping");
    this.exchange.asked.close(error);
    for (const { reject } of this.arrivals.splice(0)) reject(error);
  }

  resume(): Uint8Array {
    return this.exchange.resume();
  }

  /** A link is up: use it, unless it is the lesser of two that both ends dialled at once. */
  linkReady(link: Link, _peer: NodeInfo, resume: Uint8Array): void {
    const state = decodeResume(resume);
    link.instance = state.instance;
    this.links.push(link);
    const active = this.link;
    if (this.closed) {
      link.close("stopping");
      return;
    }
    if (!active || active.instance !== link.instance) {
      this.use(link, state.acks);
      if (active) this.closeOlderRuns(link);
      else this.node.connected(this.signId);
      return;
    }
    const twin = this.ready.find((other) => other !== link && other.way === link.way);
    if (twin && !this.supersedes(link, twin)) {
      link.close(DUPLICATE);
      return;
    }
    if (active === twin || !active.ready) this.use(link, state.acks);
    else this.keeper.joined();
    twin?.close(twin.dialled === link.dialled ? REPLACED : DUPLICATE);
  }

  linkLost(link: Link, error: Error): void {
    const position = this.links.indexOf(link);
    if (position >= 0) this.links.splice(position, 1);
    if (link !== this.link) {
      if (this.link) this.exchange.sayAgain();
      this.keeper.lost(link);
      return;
    }
    clearTimeout(this.renewal);
    const other = best(this.ready, undefined, 0, 0);
    this.exchange.pause(other !== undefined);
    this.keeper.lost(link);
    if (other) {
      this.use(other);
      this.exchange.show();
      return;
    }
    this.reason = error.message;
    this.node.disconnected(this.signId, this.reason);
    if (this.exchange.useful) this.backoff.reset();
    this.watchExpiry();
    if (this.reason.endsWith(TAKEN_OVER)) this.node.failed(new LocalError(`another node runs with this key: ${this.signId} now talks to that one`));
    else if (this.wanted) this.reach();
  }

  frameReceived(link: Link, frame: Frame): void {
    if (link !== this.link) this.keeper.heardElsewhere();
    this.exchange.frameReceived(frame);
  }

  linkWritable(link: Link): void {
    if (link === this.link) this.exchange.flush();
  }

  /** Another run of the peer's node is there now. */
  private closeOlderRuns(link: Link): void {
    for (const other of [...this.links]) if (other.instance !== link.instance) other.close(TAKEN_OVER);
  }

  private get wanted(): boolean {
    return this.introducing || this.arrivals.length > 0 || this.exchange.asked.some || !this.node.outbox.isEmpty(this.signId);
  }

  /** Of two links that both ends dialled at once, the one dialled by the smaller signId stays; else the newer. */
  private supersedes(link: Link, old: Link): boolean {
    if (!old.ready || link.dialled === old.dialled || link.instance !== old.instance) return true;
    if (link.opened - old.opened > GLARE) return true; // no coincidence: the other end has lost the old one
    return link.dialled === this.node.signId < this.signId;
  }

  /** Go on over `link`; `acks` is what the peer said it has, what it lacks is sent again. */
  use(link: Link, acks: Ack[] = []): void {
    this.reason = "";
    this.introducing = false;
    this.exchange.begin(link, acks);
    this.nudged();
    clearTimeout(this.renewal);
    if (link.dialled) this.renewAfter(LIFETIME);
    this.keeper.chosen();
    this.node.moved(this.signId, link.connection.address);
    for (const { resolve } of this.arrivals.splice(0)) resolve();
  }

  /** A fresh link has fresh keys; the old one closes when it is up, and nothing is lost between them. */
  private renewAfter(delay: number): void {
    clearTimeout(this.renewal);
    this.renewal = setTimeout(() => {
      if (this.link) this.node.dial(this.signId, [this.link.dialledAt]).catch(() => this.renewAfter(RENEW_AGAIN));
    }, delay);
  }

  private async keepDialling(): Promise<void> {
    this.dialling = true;
    while (!this.link && !this.closed) {
      try {
        await this.dial(this.ways().filter(({ overLink }) => !overLink));
      } catch (error) {
        this.reason = asError(error).message;
        this.node.unreachable(this.signId);
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
      this.nudged = () => (clearTimeout(timer), resolve());
    });
    this.resting = false;
  }

  /** One timer for all that waits. */
  private watchExpiry(): void {
    const due = this.link ? Infinity : this.exchange.nextExpiry;
    if (this.closed || due >= this.expiryDue) return;
    clearTimeout(this.expiry);
    this.expiryDue = due;
    this.expiry = setTimeout(() => {
      this.expiryDue = Infinity;
      this.exchange.expire();
      this.watchExpiry();
    }, Math.min(Math.max(due - Date.now(), 0), LONGEST_TIMER));
  }
}

