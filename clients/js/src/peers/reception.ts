/**
 * Decides what becomes of a message that handlers did not take: kept in the inbox, left with its sender, or refused. Those
 * of friends and devices are kept. Those of strangers are refused, but left with their sender while the application sets
 * up its handlers; requests wait for theirs in that time.
 */

import type { Stream } from "../delivery/receiver.js";
import {
  type Ending,
  FAILED,
  KEPT,
  MAX_REASON,
  REFUSED,
  type Record,
  sizeOf,
  TAKEN,
  UNHEARD,
} from "../delivery/wire.js";
import type { Inbox } from "../durable/inbox.js";
import { nameOf, Refused } from "../errors.js";
import type { Scope } from "../identity/circles.js";
import { NOBODY, type Result } from "../messaging/subscriber.js";

const SETUP_TIME = 10_000; // milliseconds after the start in which an application registers its handlers
const PARKED = 4096; // requests that wait for their handlers, of all peers
const PARKED_BYTES = 8 * 1024 * 1024;
const IN_INBOX: Ending = [KEPT, ""];

/** A request that waits for its handler. */
export interface Waiting {
  readonly size: number;
  /** Ask the handlers again; false when there are still none. */
  tryAgain(): boolean;
  /** Answer that nobody listens. */
  giveUp(): void;
}

/** A message that came, as handlers see it; it expires by our clock (Unix milliseconds). */
export interface Incoming {
  readonly peer: string;
  readonly scope: Scope;
  readonly stream: Stream;
  readonly record: Record;
  readonly expires: number;
}

/**
 * `internal`: protocols that the node itself speaks. `asks` says whether a stranger asks to be a friend. `again(peer)` asks
 * a peer, or all, for what was left with it.
 */
export class Reception {
  /** The application may have handlers still to register. */
  settingUp = true;
  private parked: Waiting[] = [];
  private parkedBytes = 0;
  private left = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private waiters: (() => void)[] = [];

  constructor(
    private readonly inbox: Inbox,
    private readonly internal: readonly string[],
    private readonly asks: (peer: string) => boolean,
    private readonly again: (peer?: string) => void,
  ) {
    inbox.freed = again;
  }

  begin(): void {
    if (this.settingUp) this.timer = setTimeout(() => this.setUp(), SETUP_TIME);
  }

  /** All handlers are there: what nobody listens to is refused from now on, and requests are told so. */
  setUp(): void {
    if (!this.settingUp) return;
    this.settingUp = false;
    this.close();
    this.subscribed();
    for (const wake of this.waiters.splice(0)) wake();
  }

  /** Wait for no handlers any more. */
  close(): void {
    clearTimeout(this.timer);
  }

  /** Resolves once the application is set up. */
  ready(): Promise<void> {
    return this.settingUp ? new Promise((resolve) => this.waiters.push(resolve)) : Promise.resolve();
  }

  /** There is a new handler, or a new friend, or one who asked is turned down. */
  subscribed(): void {
    if (this.left) {
      this.left = false;
      this.again();
    }
    const parked = this.parked.splice(0);
    this.parkedBytes = 0;
    for (const request of parked) if (!request.tryAgain() && !this.park(request)) request.giveUp();
  }

  /** What its sender is told of a message that handlers gave this result of; undefined when it is left with it. */
  ending(message: Incoming, result: Result): Ending | undefined {
    if (result === NOBODY) return this.unheard(message);
    const { error } = result;
    if (!error) return TAKEN;
    return error instanceof Refused ? refusal(error) : this.failed(message, error);
  }

  /** The same of a message that nobody listens to. */
  unheard(message: Incoming): Ending | undefined {
    const { scope, stream, record } = message;
    if (this.internal.includes(record.protocol) || !/^[ -~]+$/.test(record.protocol)) return UNHEARD;
    if (scope !== "public" && this.keep(message, "")) return IN_INBOX;
    if (scope === "public" && !this.settingUp && !this.asks(message.peer)) return UNHEARD;
    this.left ||= scope === "public";
    stream.leave(record.seq);
    return undefined;
  }

  /** Let a request wait for its handler; false when there is no room, or all is set up. */
  park(request: Waiting): boolean {
    if (!this.settingUp || this.parked.length >= PARKED || this.parkedBytes + request.size > PARKED_BYTES) return false;
    this.parked.push(request);
    this.parkedBytes += request.size;
    return true;
  }

  /** What a stranger sent is not left when there is no room: it would fail each time. */
  private failed(message: Incoming, error: Error): Ending | undefined {
    const kept = this.internal.includes(message.record.protocol) || this.keep(message, textOf(error));
    if (kept || message.scope === "public") return [FAILED, toldOf(error, message.scope)];
    message.stream.leave(message.record.seq);
    return undefined;
  }

  /** False when there is no room. */
  private keep({ peer, stream, record, expires }: Incoming, error: string): boolean {
    if (!this.inbox.room(peer, sizeOf(record))) return false;
    const { seq, topic, protocol, payload } = record;
    const { lane, epoch } = stream;
    const at = Date.now();
    this.inbox.keep({ peer, lane, epoch, seq, topic, protocol, payload, expires, at, told: error !== "", error });
    return true;
  }
}

/** What the sender is told of a handler that refused a message. */
export function refusal(error: Refused): Ending {
  return [REFUSED, textOf(error) || "refused"];
}

/** Class and text of an error, as much as travels; the text alone of one that is meant for the peer. */
export function textOf(error: Error): string {
  const text = error instanceof Refused ? error.message : `${nameOf(error)}: ${error.message}`;
  return [...text].slice(0, MAX_REASON).join("");
}

/** What a sender is told of an error here: strangers only what a handler meant for them. */
export function toldOf(error: Error, scope: Scope): string {
  return scope !== "public" || error instanceof Refused ? textOf(error) : "";
}
