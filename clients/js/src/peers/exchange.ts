/**
 * What is said over the link in use with one peer: queues, frames out, frames in. What is queued in one turn leaves in
 * one frame, one box and one write.
 */

import { EMPTY, utf8 } from "../bytes.js";
import type { Contacts } from "../contacts.js";
import type { Receiver, Stream } from "../delivery/receiver.js";
import type { Sender } from "../delivery/sender.js";
import {
  type Ack,
  type Batch,
  type Ending,
  type Event,
  EXPIRED,
  encodeResume,
  type Frame,
  type Record,
  type Reply,
  type Request,
  STATUS,
} from "../delivery/wire.js";
import type { Handled } from "../durable/handled.js";
import type { Inbox } from "../durable/inbox.js";
import type { Outbox } from "../durable/outbox.js";
import { ProtocolError } from "../errors.js";
import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import type { Link } from "../links/link.js";
import type { Dispatcher } from "../messaging/dispatch.js";
import { NOBODY, type Result } from "../messaging/subscriber.js";
import { type Incoming, type Reception, toldOf } from "./reception.js";
import { PendingRequests, ReplyCache } from "./requests.js";

const FULL = 64 * 1024; // bytes of durable messages in one frame
const PORTION = 128 * 1024; // bytes of events, requests and replies in one frame
const AGAIN_EVERY = 1000; // milliseconds between two times that a stream is sent again because the peer asks for it
const BACKLOG = 64 * 1024 * 1024; // bytes of replies for a peer that asks and does not read
const BACKLOG_OF_STRANGER = 1024 * 1024; // beyond which no more of many replies are given to a stranger

/** What an exchange stands on. */
export interface ExchangeContext {
  /** Names this run of our node. */
  readonly epoch: number;
  readonly outbox: Outbox;
  readonly handled: Handled;
  readonly inbox: Inbox;
  readonly reception: Reception;
  readonly contacts: Contacts;
  readonly dispatcher: Dispatcher;
}

/**
 * `dial` is called when a link is needed, `requestSent` when something went out that wants an answer. `askedBefore` is the
 * number of the latest request of which nothing is in memory.
 */
export class Exchange {
  /** The one in use, undefined while there is none. */
  link: Link | undefined;
  /** The link in use brought something. */
  useful = false;
  readonly pending: PendingRequests;
  private readonly replyCache = new ReplyCache();
  private readonly sender: Sender;
  private readonly receiver: Receiver;
  private acks = new Map<string, Ack>();
  private events: Event[] = [];
  private requests: Request[] = [];
  private replies: Reply[] = [];
  private armed = false;
  private readonly wantedAgain = new Map<number, Set<number>>(); // epochs by lane: the peer has left some of it with us
  private sentAgain = -Infinity;
  private unsaved: Unsaved[] = []; // mail of which not everything is handled and saved

  constructor(
    private readonly peer: SignId,
    private readonly context: ExchangeContext,
    private readonly dial: () => void,
    private readonly requestSent: () => void,
    askedBefore: number,
  ) {
    this.pending = new PendingRequests(askedBefore);
    this.sender = context.outbox.sender(peer);
    this.receiver = context.handled.receiver(peer);
  }

  /** Queue a realtime message; false when no link is up. */
  sendEvent(event: Event): boolean {
    if (!this.link) {
      this.dial();
      return false;
    }
    this.events.push(event);
    this.arm();
    return true;
  }

  /** Ask; the payload of the reply, or RequestTimeout, RequestFailed or NoResponders. */
  request(
    { topic, protocol, payload }: Event,
    timeout: number,
    signal?: AbortSignal,
    patience?: number,
  ): Promise<Uint8Array> {
    const { request, reply } = this.pending.ask(topic, protocol, payload, timeout, signal, patience);
    if (this.link) {
      this.requests.push(request);
      this.arm();
    } else {
      this.dial();
    }
    return reply;
  }

  /** These are saved: they may be told. */
  acknowledge(acks: Ack[]): void {
    for (const ack of acks) {
      this.acks.set(`${ack.lane}/${ack.epoch}`, ack);
      for (const unsaved of this.unsaved) unsaved.waits = unsaved.waits.filter((batch) => !covers(ack, batch));
    }
    if (this.unsaved.length) this.tellSaved();
    this.arm();
  }

  /** A frame that came by mail; resolves once all in it is handled and saved. */
  mailReceived(frame: Frame): Promise<void> {
    this.frameReceived(frame);
    return new Promise((resolve) => {
      this.unsaved.push({ waits: [...frame.batches], resolve });
      this.acknowledge(this.receiver.acks()); // it may be there already
    });
  }

  /** What a mailed acknowledgement says. */
  mailedAcks(): Ack[] {
    return this.receiver.acks();
  }

  /** Ask the peer for what was left with it. */
  leftAgain(): void {
    for (const { lane, epoch } of this.receiver.left()) this.link?.send({ type: "again", lane, epoch });
  }

  /** The peer has left some of this stream with us: send what is not settled again, at most once in AGAIN_EVERY. */
  sendAgain(lane: number, epoch: number): void {
    if (!this.wantedAgain.size) {
      const due = Math.max(0, this.sentAgain + AGAIN_EVERY - performance.now());
      setTimeout(() => this.sendWanted(), due);
    }
    this.wantedAgain.set(lane, (this.wantedAgain.get(lane) ?? new Set()).add(epoch));
  }

  /** What a handshake tells the peer about what we have. */
  resume(): Uint8Array {
    return encodeResume({ epoch: this.context.epoch, now: Date.now(), acks: this.receiver.acks() });
  }

  /** Go on over `link`: `acks` is what the peer said it has, what it lacks is sent again. */
  resumeOver(link: Link, acks: Ack[]): void {
    this.link = link;
    this.useful = false;
    this.replyCache.begin(link.epoch);
    for (const settled of this.sender.linkUp(acks)) this.context.outbox.settle(this.peer, settled);
    this.sayAgain();
  }

  /** Let the peer hear over which link we go on, with nothing else to say: it may miss replies. */
  announceLink(): void {
    this.link?.send({
      type: "frame",
      now: Date.now(),
      floor: this.pending.floor,
      acks: [],
      batches: [],
      events: [],
      requests: [],
      replies: [],
    });
  }

  /** A link is gone, or another one is used: what the old one carried last may not have arrived, either way. */
  sayAgain(): void {
    this.requests = this.pending.unanswered;
    this.acknowledge([...this.receiver.acks(), ...this.receiver.reminders()]);
  }

  /** The link is gone: what is durable, and requests, wait for the next one; the rest is lost unless there is `another`. */
  pause(another: boolean): void {
    this.link = undefined;
    this.sender.linkDown();
    if (another) return;
    this.receiver.close();
    this.events = [];
    this.replies = [];
    this.acks.clear();
  }

  /** Unix milliseconds: nothing that waits expires before this. */
  get nextExpiry(): number {
    return this.sender.nextExpiry;
  }

  /** End what waited too long. */
  expire(): void {
    for (const settled of this.sender.expire(Date.now())) this.context.outbox.settle(this.peer, settled);
  }

  /** One frame of the peer: acknowledgements first, then what it sends. */
  frameReceived(frame: Frame): void {
    this.useful = true;
    for (const ack of frame.acks) {
      const settled = this.sender.acknowledge(ack);
      if (settled) this.context.outbox.settle(this.peer, settled);
    }
    const scope = this.context.contacts.scope(this.peer);
    for (const batch of frame.batches) this.takeIn(batch, frame.now, scope);
    for (const event of frame.events) this.context.dispatcher.event(scope, this.peer, event);
    if (frame.requests.length) this.replyCache.forget(frame.floor);
    for (const request of frame.requests) this.serve(request, scope);
    for (const reply of frame.replies) this.pending.answered(reply);
    this.arm();
  }

  private tellSaved(): void {
    const all = this.unsaved;
    this.unsaved = all.filter(({ waits }) => waits.length);
    for (const { waits, resolve } of all) if (!waits.length) resolve();
  }

  private sendWanted(): void {
    this.sentAgain = performance.now();
    for (const [lane, epochs] of this.wantedAgain) for (const epoch of epochs) this.sender.again(lane, epoch);
    this.wantedAgain.clear();
    this.flush();
  }

  private takeIn(batch: Batch, senderNow: number, scope: Scope): void {
    const { stream, ready } = this.receiver.accept(batch, Date.now());
    for (const record of ready) this.handOver(record, senderNow, scope, stream);
    if (stream.dirty) this.context.handled.save(this.peer);
    if (stream.stale) this.acknowledge(this.receiver.reminders());
  }

  private handOver(record: Record, senderNow: number, scope: Scope, stream: Stream): void {
    const { inbox, reception, dispatcher } = this.context;
    if (!record.topic) stream.finish(record.seq);
    else if (record.expires <= senderNow) stream.finish(record.seq, [EXPIRED, ""]);
    else {
      const message = { peer: this.peer, scope, stream, record, expires: record.expires - senderNow + Date.now() };
      if (inbox.holds(this.peer, record.protocol, record.topic)) this.ended(message, reception.unheard(message));
      else
        dispatcher.message(scope, this.peer, record, (result) =>
          this.ended(message, reception.ending(message, result)),
        );
    }
  }

  private ended({ stream, record }: Incoming, ending: Ending | undefined): void {
    if (!ending) return; // left with its sender
    stream.finish(record.seq, ending);
    this.context.handled.save(this.peer);
  }

  private serve(request: Request, scope: Scope): void {
    if (this.unread > BACKLOG) {
      throw new ProtocolError("not-reading", "it asks on and does not read the replies");
    }
    const seen = this.replyCache.seen(request);
    if (seen === true) return;
    if (seen) {
      this.replies.push(seen);
      return;
    }
    this.replyCache.begun(request);
    const asked = { epoch: this.replyCache.epoch, request };
    if (!this.ask(asked, scope)) this.park(asked);
  }

  /** False when nobody listens. */
  private ask({ epoch, request }: Asked, scope: Scope): boolean {
    let heard = true;
    this.context.dispatcher.request(scope, this.peer, request, {
      finish: (result) => {
        if (result === NOBODY) heard = false;
        else this.answer(epoch, replyOf(request, result, scope));
      },
      wanted: () => this.replyCache.awaited(epoch, request.id),
      clogged: () => this.unread > (scope === "public" ? BACKLOG_OF_STRANGER : BACKLOG),
      party: this.link?.connection.address ?? "",
    });
    return heard;
  }

  /** Bytes of replies that wait for the peer to read. */
  private get unread(): number {
    return this.replies.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  /** Let a request wait for its handler, if that may still come. */
  private park(asked: Asked): void {
    const { epoch, request } = asked;
    const giveUp = (): void => this.answer(epoch, { id: request.id, status: STATUS.NO_RESPONDERS, payload: EMPTY });
    const tryAgain = (): boolean =>
      !this.replyCache.awaited(epoch, request.id) || this.ask(asked, this.context.contacts.scope(this.peer));
    if (!this.context.reception.park({ size: request.payload.length, tryAgain, giveUp })) giveUp();
  }

  private answer(epoch: number, reply: Reply): void {
    if (!this.replyCache.reply(epoch, reply) || !this.link) return;
    this.replies.push(reply);
    this.arm();
  }

  /** Send what is queued at the end of this turn. */
  arm(): void {
    if (this.armed) return;
    this.armed = true;
    queueMicrotask(() => {
      this.armed = false;
      this.flush();
    });
  }

  /** Send what is queued and what the window allows, as long as the connection takes it. */
  flush(): void {
    const { link, sender } = this;
    while (link?.ready && !link.paused && (this.queued || sender.ready || this.acks.size)) {
      const now = Date.now();
      let batches: Batch[] = [];
      if (sender.ready) {
        const taken = sender.take(FULL, link.largest, now);
        batches = taken.batches;
        for (const settled of taken.expired) this.context.outbox.settle(this.peer, settled);
        if (!batches.length && !this.queued && !this.acks.size) return;
      }
      const acks = [...this.acks.values()];
      this.acks.clear();
      const room = { left: PORTION };
      const [events, requests, replies] = [
        take(this.events, room),
        take(this.requests, room),
        take(this.replies, room),
      ];
      link.send({ type: "frame", now, floor: this.pending.floor, acks, batches, events, requests, replies });
      if (batches.length || requests.length) {
        link.owesSince ||= performance.now();
        this.requestSent();
      }
    }
  }

  private get queued(): boolean {
    return this.events.length + this.requests.length + this.replies.length > 0;
  }
}

/** A request of the run `epoch` of the peer. */
interface Asked {
  epoch: number;
  request: Request;
}

interface Unsaved {
  waits: Batch[];
  resolve: () => void;
}

/** Whether `ack` says that all of `batch` is handled. */
function covers({ lane, epoch, upto, ranges }: Ack, batch: Batch): boolean {
  if (batch.lane !== lane || batch.epoch !== epoch) return false;
  return batch.records.every(({ seq }) => seq <= upto || ranges.some(([low, high]) => low <= seq && seq <= high));
}

/** The first of `queue` that fit into the room, at least one when nothing was taken before. */
function take<T extends { payload: Uint8Array }>(queue: T[], room: { left: number }): T[] {
  let count = 0;
  for (const { payload } of queue) {
    const size = payload.length + 16;
    if (room.left < PORTION && size > room.left) break;
    room.left -= size;
    count++;
  }
  return queue.splice(0, count);
}

/** What the peer may know of an error here. */
function replyOf({ id }: Request, result: Result<Uint8Array>, scope: Scope): Reply {
  if (!result.error) return { id, status: STATUS.OK, payload: result.value ?? EMPTY };
  return { id, status: STATUS.FAILED, payload: utf8(toldOf(result.error, scope) || "failed") };
}
