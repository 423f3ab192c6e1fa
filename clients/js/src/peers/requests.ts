/**
 * Requests and their replies with one peer. A request is realtime, but it outlives a link: those still unanswered are
 * sent again over the next one, and the peer answers what it has seen from memory instead of asking its handlers twice.
 */

import { textLeniently, utf8 } from "../bytes.js";
import { type Reply, type Request, STATUS, TOO_LARGE } from "../delivery/wire.js";
import { asError, NoResponders, ProtocolError, RequestFailed, RequestTimeout, Unreachable } from "../errors.js";

const UNFINISHED = 65536; // requests of one peer that may be unanswered at once, and replies remembered
export const PATIENCE = 1000; // milliseconds for which a peer that no attempt reaches may be between two networks
const REMEMBERED_BYTES = 64 * 1024 * 1024;
const FORGOTTEN = utf8("answered before, and the reply was lost with a link; ask again");

interface PendingRequest {
  request: Request;
  patience: number;
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

/**
 * Our requests to one peer. The first one follows `after`: in one run a number never stands for two requests to a peer,
 * who may remember what it answered when we have forgotten that we asked.
 */
export class PendingRequests {
  private readonly waiting = new Map<number, PendingRequest>();
  private latest: number;
  private vain?: { at: number; number: number }; // when an attempt to reach the peer failed, the last number then
  private gone = 0; // when the first attempt since the last link failed

  constructor(private readonly after = 0) {
    this.latest = after;
  }

  /** The number of the latest request. */
  get number(): number {
    return this.latest;
  }

  /** What the next link must carry again. */
  get unanswered(): Request[] {
    return Array.from(this.waiting.values(), ({ request }) => request);
  }

  /** Whether anything was asked in this run. */
  get asked(): boolean {
    return this.latest > this.after;
  }

  /** The peer closed a link as something was too large: fail the largest request, if it has more than `least` bytes. */
  refuseLargest(least: number): void {
    const [largest] = this.unanswered.sort((a, b) => b.payload.length - a.payload.length);
    if (largest && largest.payload.length > least)
      this.answered({ id: largest.id, status: STATUS.FAILED, payload: utf8(TOO_LARGE) });
  }

  get some(): boolean {
    return this.waiting.size > 0;
  }

  /** Below this number nobody waits for a reply. */
  get floor(): number {
    const [lowest] = this.waiting.keys();
    return lowest ?? this.latest + 1;
  }

  /**
   * A new request, and the promise of the reply's payload. Nobody waits after `timeout` milliseconds, or with `signal`,
   * or for a peer that no attempt has reached for `patience` milliseconds.
   */
  ask(
    topic: string,
    protocol: string,
    payload: Uint8Array,
    timeout: number,
    signal?: AbortSignal,
    patience = PATIENCE,
  ): { request: Request; reply: Promise<Uint8Array> } {
    const request = { id: ++this.latest, topic, protocol, payload };
    const reply = new Promise<Uint8Array>((resolve, reject) => {
      const giveUp = (error: Error): void => {
        this.waiting.get(request.id)?.reject(error);
        this.waiting.delete(request.id);
      };
      const left = (): void => giveUp(asError(signal!.reason));
      const timer = setTimeout(() => giveUp(new RequestTimeout(`no reply to ${topic} in time`)), timeout);
      const ended =
        <T>(end: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", left);
          end(value);
        };
      this.waiting.set(request.id, { request, patience, resolve: ended(resolve), reject: ended(reject) });
      if (signal?.aborted) left();
      else signal?.addEventListener("abort", left);
    });
    return { request, reply };
  }

  /** A reply from this peer; one that nobody waits for (any longer) is ignored. */
  answered(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    this.waiting.delete(reply.id);
    if (reply.status === STATUS.OK) waiting.resolve(reply.payload);
    else if (reply.status === STATUS.NO_RESPONDERS)
      waiting.reject(new NoResponders(`nobody at the peer listens to ${waiting.request.topic}`));
    else waiting.reject(new RequestFailed(textLeniently(reply.payload).slice(0, 1000)));
  }

  /** A link is up. */
  reached(): void {
    delete this.vain;
  }

  /**
   * An attempt to reach the peer failed: the requests that saw one fail PATIENCE ago fail, too, or however long they wait
   * for that. Nobody waits longer for a peer that has `left`: it closed the last link.
   */
  notReached(reason: string, left = false): void {
    const now = performance.now();
    if (!this.vain) this.gone = now;
    else if (now - this.vain.at < PATIENCE) return;
    for (const [number, { reject, patience }] of this.vain ? [...this.waiting] : []) {
      if (number > this.vain!.number) break;
      if (!left && now - this.gone < patience) continue;
      this.waiting.delete(number);
      reject(new Unreachable(reason));
    }
    this.vain = { at: now, number: this.latest };
  }

  /** Nobody will answer any more. */
  close(error: Error): void {
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}

/** The requests of one run of one peer's node that we answered, or are about to. */
export class ReplyCache {
  epoch = 0;
  private readonly working = new Set<number>(); // handlers have these in hand
  private readonly replies = new Map<number, Reply>(); // in the order of the answers
  private floor = 1;
  private bytes = 0;

  /** A link to the run `epoch` of the peer is up: a new run numbers its requests anew. */
  begin(epoch: number): void {
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.working.clear();
    this.replies.clear();
    this.floor = 1;
    this.bytes = 0;
  }

  /** The peer waits for nothing below `floor`. */
  forget(floor: number): void {
    for (const number of [...this.replies.keys()]) if (number < floor) this.drop(number);
    this.floor = Math.max(floor, this.floor);
  }

  /** The reply to send again, true when handlers still work on it or nobody waits for it, false when it is new. */
  seen(request: Request): Reply | boolean {
    const reply = this.replies.get(request.id);
    if (reply) return reply;
    if (request.id < this.floor || this.working.has(request.id)) return true;
    if (this.working.size >= UNFINISHED) throw new ProtocolError("window", `more than ${UNFINISHED} requests at once`);
    return false;
  }

  /** Whether the run of the peer that asked still waits for this reply. */
  awaited(epoch: number, id: number): boolean {
    return epoch === this.epoch && id >= this.floor;
  }

  /** Handlers are at work on it. */
  begun(request: Request): void {
    this.working.add(request.id);
  }

  /** Remember it; false when the run that asked is gone or waits no longer. */
  reply(epoch: number, reply: Reply): boolean {
    if (epoch !== this.epoch) return false;
    this.working.delete(reply.id);
    if (reply.id < this.floor) return false;
    this.replies.set(reply.id, reply);
    this.bytes += reply.payload.length;
    this.bound();
    return true;
  }

  /** That it was answered is remembered longer than the answer, so that no handler runs twice. */
  private bound(): void {
    for (const number of this.replies.keys()) {
      if (this.bytes <= REMEMBERED_BYTES) break;
      this.drop(number);
      this.replies.set(number, { id: number, status: STATUS.FAILED, payload: FORGOTTEN });
      this.bytes += FORGOTTEN.length;
    }
    if (this.replies.size > UNFINISHED) this.drop(this.replies.keys().next().value!);
  }

  private drop(number: number): void {
    this.bytes -= this.replies.get(number)?.payload.length ?? 0;
    this.replies.delete(number);
  }
}
