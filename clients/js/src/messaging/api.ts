/** Publish, subscribe and request: topics and payloads in, topics and payloads out. */

import { decode, encode } from "../codec.js";
import { type Event, TOO_LARGE } from "../delivery/wire.js";
import { CodecError, NoResponders, nameOf, Refused, RequestFailed, RequestTimeout } from "../errors.js";
import type { GroupDelivery } from "../groupdelivery.js";
import { isListName, type ListName } from "../identity/names.js";
import {
  checkTopic,
  DELIVERED,
  Delivery,
  type Outcome,
  PRIORITIES,
  type Priority,
  SENT,
  UNHANDLED,
} from "../message.js";
import { Bus, type Route } from "./bus.js";
import type { InHand, ProtocolHandler } from "./dispatch.js";
import type { Handler } from "./handlers.js";
import type { Parsing, SubscriptionOptions } from "./options.js";
import { fittedReply } from "./parsing.js";
import { failedHere, isolated, readHere } from "./series/here.js";
import { readSeries } from "./series/series.js";
import { SeriesServer } from "./series/server.js";
import { DONE, type Handling, NOBODY, type Result } from "./subscriber.js";

export const PROTOCOL = "ms";
export const SERIES = `${PROTOCOL}.series`;
export const LOCAL = "local";
const DEFAULT_EXPIRY = 7 * 24 * 3600; // seconds

export interface SendOptions {
  /** At most once, never saved, dropped when no link is up. */
  realtime?: boolean;
  /** Seconds; 7 days unless told. */
  expireAfter?: number;
  /** "normal" unless told. */
  priority?: Priority;
}

/** Several peers: a list or a circle, as "@family" or "@friends", or the signIds of all. */
export type Several = ListName | readonly string[];

export interface RequestOptions {
  /** Seconds to wait for the reply, or for each of many; 10 unless told. */
  timeout?: number;
}

/**
 * What moves bytes to peers. `expires` is in Unix milliseconds, `timeout` in milliseconds; nobody waits for a reply once
 * `signal` is aborted.
 */
export interface Upstream {
  readonly signId: string;
  post(destination: string, lane: number, event: Event, realtime: boolean, expires: number): Promise<Delivery>;
  /** To all of several, or none. */
  postToAll(
    destination: Several,
    lane: number,
    event: Event,
    realtime: boolean,
    expires: number,
  ): Promise<GroupDelivery>;
  /** `patience`: milliseconds to wait for a peer that no attempt reaches, a second if not told. */
  ask(destination: string, event: Event, timeout: number, signal?: AbortSignal, patience?: number): Promise<Uint8Array>;
}

/** Handlers get (name, sender, payload), the name being `scope.topic`. */
export class Messaging implements ProtocolHandler {
  /** Answers those who ask for many replies. */
  readonly series: SeriesServer;
  private readonly bus: Bus;

  constructor(
    private readonly upstream: Upstream,
    private readonly failed: (error: Error, topic: string) => void,
  ) {
    this.bus = new Bus(failed);
    this.series = new SeriesServer(
      (scope, topic, sender, payload, reader, finished) =>
        this.deliver(scope, topic, sender, payload, { durable: false, reader }, finished),
      failed,
    );
  }

  /**
   * Call `handler` for every message whose name (`scope.topic`) matches `pattern`; `*` is one segment, `>` one or more.
   * The message is acknowledged when the promise it returns has settled. A handler that throws gets a durable message again
   * (`options` say how often), then it is put among the failed ones of the inbox. What a friend or device of ours sent
   * before there was a handler comes first. The function returned ends the subscription. With `parse` the handler is given
   * what that makes of a payload; what it throws refuses the message, and no handler is called.
   */
  on<T>(pattern: string, handler: Handler<T>, options: SubscriptionOptions & Parsing<T>): () => void;
  on(pattern: string, handler: Handler, options?: SubscriptionOptions): () => void;
  on(pattern: string, handler: Handler<never>, options: SubscriptionOptions = {}): () => void {
    return this.bus.on(pattern, handler as Handler, options);
  }

  /** As `on`, for one message. */
  once<T>(pattern: string, handler: Handler<T>, options: SubscriptionOptions & Parsing<T>): () => void;
  once(pattern: string, handler: Handler, options?: SubscriptionOptions): () => void;
  once(pattern: string, handler: Handler<never>, options: SubscriptionOptions = {}): () => void {
    return this.bus.once(pattern, handler as Handler, options);
  }

  off(pattern: string, handler: Handler<never>): void {
    this.bus.off(pattern, handler as Handler);
  }

  /**
   * Send to everybody at `destination` who listens to `topic` there. Resolves once the message is saved here. Several peers
   * are all sent it, or none; the GroupDelivery has all that a Delivery has.
   */
  send(topic: string, destination: Several, payload?: unknown, options?: SendOptions): Promise<GroupDelivery>;
  send(topic: string, destination?: string, payload?: unknown, options?: SendOptions): Promise<Delivery>;
  async send(
    topic: string,
    destination: string | Several = LOCAL,
    payload: unknown = null,
    options: SendOptions = {},
  ): Promise<Delivery> {
    const { realtime = false, expireAfter = DEFAULT_EXPIRY, priority = "normal" } = options;
    const lane = PRIORITIES.indexOf(priority);
    if (lane < 0) throw new RangeError(`priority ${priority}: one of ${PRIORITIES.join(", ")}`);
    checkTopic(topic);
    const data = encode(payload);
    if (this.isLocal(destination)) return this.sendLocal(topic, data, realtime);
    const expires = Math.floor(Date.now() + expireAfter * 1000);
    const event = { topic, protocol: PROTOCOL, payload: data };
    return isSeveral(destination)
      ? this.upstream.postToAll(destination, lane, event, realtime, expires)
      : this.upstream.post(destination, lane, event, realtime, expires);
  }

  /**
   * Ask one peer and return what its handler returned. Throws RequestTimeout after `timeout` seconds, Unreachable
   * once attempts to reach the peer have failed for a second, RequestFailed with the text of the error there or with what
   * `parse` throws at the reply, or NoResponders at once when nobody listens.
   */
  request<T>(
    topic: string,
    destination: string | undefined,
    payload: unknown,
    options: RequestOptions & Parsing<T>,
  ): Promise<T>;
  request(topic: string, destination?: string, payload?: unknown, options?: RequestOptions): Promise<unknown>;
  async request(
    topic: string,
    destination: string = LOCAL,
    payload: unknown = null,
    { timeout = 10, parse }: RequestOptions & Partial<Parsing<unknown>> = {},
  ): Promise<unknown> {
    checkTopic(topic);
    checkTimeout(timeout);
    const data = encode(payload);
    const reply = this.isLocal(destination)
      ? isolated(await this.requestLocal(topic, data, timeout * 1000))
      : decodedReply(
          await this.upstream.ask(destination, { topic, protocol: PROTOCOL, payload: data }, timeout * 1000),
        );
    return parse ? fittedReply(parse, reply) : reply;
  }

  /**
   * Ask one peer, and give each reply of its handler, an async generator, as it comes. The handler is asked at the first
   * step, and runs no further ahead than 64 KiB of replies; leaving the loop ends it. One that is no generator gives one
   * reply. `timeout` is for each reply. Throws what `request` throws; RequestFailed, RequestTimeout and Unreachable also
   * between two replies.
   */
  requestMany<T>(
    topic: string,
    destination: string | undefined,
    payload: unknown,
    options: RequestOptions & Parsing<T>,
  ): AsyncGenerator<T, void, void>;
  requestMany(
    topic: string,
    destination?: string,
    payload?: unknown,
    options?: RequestOptions,
  ): AsyncGenerator<unknown, void, void>;
  requestMany(
    topic: string,
    destination: string = LOCAL,
    payload: unknown = null,
    { timeout = 10, parse }: RequestOptions & Partial<Parsing<unknown>> = {},
  ): AsyncGenerator<unknown, void, void> {
    checkTopic(topic);
    checkTimeout(timeout);
    const data = encode(payload);
    const replies = this.isLocal(destination)
      ? this.manyHere(topic, data, timeout * 1000)
      : this.manyThere(topic, destination, data, timeout * 1000);
    return parse ? allFitted(replies, (reply) => fittedReply(parse, reply)) : replies;
  }

  /** Told of every new handler. */
  set changed(changed: () => void) {
    this.bus.changed = changed;
  }

  listens(scope: string, topic: string): boolean {
    return this.bus.listens(`${scope}.${topic}`);
  }

  get largest(): number {
    return this.bus.largest;
  }

  /** What a peer sent in realtime. */
  onEvent(scope: string, topic: string, sender: string, payload: Uint8Array): void {
    this.deliver(scope, topic, sender, payload, ONCE, () => {});
  }

  /** What a peer, or this node itself, sent; its result may come later. What cannot be decoded is refused. */
  onMessage(
    scope: string,
    topic: string,
    sender: string,
    payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    this.deliver(scope, topic, sender, payload, DURABLE, finished);
  }

  private deliver(
    scope: string,
    topic: string,
    sender: string,
    payload: Uint8Array,
    handling: Handling,
    finished: (result: Result) => void,
  ): void {
    const route = this.bus.route(`${scope}.${topic}`);
    if (!route.subscribers.length) {
      finished(NOBODY);
      return;
    }
    let value: unknown;
    try {
      value = sender === this.upstream.signId ? decode(payload, Infinity) : checked(payload, route);
    } catch (error) {
      finished({ error: error instanceof Refused ? error : new Refused("bad-payload") });
      return;
    }
    this.bus.deliver(route, sender, { bytes: payload, value }, handling, finished);
  }

  /** As `onMessage`; a result with a value is that value in bytes. */
  onRequest(scope: string, topic: string, sender: string, payload: Uint8Array, asked: InHand): void {
    this.deliver(scope, topic, sender, payload, ONCE, (result) => asked.finish(encoded(result)));
  }

  close(): void {
    this.series.close();
    this.bus.close();
  }

  private isLocal(destination: string | Several): boolean {
    return destination === LOCAL || destination === this.upstream.signId;
  }

  private sendLocal(topic: string, data: Uint8Array, realtime: boolean): Delivery {
    const delivery = new Delivery(this.upstream.signId);
    if (realtime) delivery.settle(SENT);
    this.deliver("self", topic, this.upstream.signId, data, realtime ? ONCE : DURABLE, (result) =>
      delivery.settle(outcomeOf(result)),
    );
    return delivery;
  }

  /** What handlers of this node give. */
  private requestLocal(topic: string, data: Uint8Array, timeout: number, handling: Handling = ONCE): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new RequestTimeout(`no reply to ${topic} in time`)), timeout);
      this.deliver("self", topic, this.upstream.signId, data, handling, (result) => {
        clearTimeout(timer);
        if (result === NOBODY) reject(new NoResponders(`nobody listens to ${topic}`));
        else if (result.error) reject(failedHere(result.error));
        else resolve(result.value);
      });
    });
  }

  private async *manyHere(topic: string, data: Uint8Array, timeout: number): AsyncGenerator<unknown, void, void> {
    const reader = new AbortController();
    const value = await this.requestLocal(topic, data, timeout, { durable: false, reader: reader.signal });
    yield* readHere(value, timeout, reader, (error) => this.failed(error, `self.${topic}`));
  }

  private async *manyThere(
    topic: string,
    destination: string,
    data: Uint8Array,
    timeout: number,
  ): AsyncGenerator<unknown, void, void> {
    const event = (payload: Uint8Array): Event => ({ topic, protocol: SERIES, payload });
    const upstream = {
      ask: (pull: Uint8Array, timeout: number, signal: AbortSignal, patience?: number) =>
        this.upstream.ask(destination, event(pull), timeout, signal, patience),
      stop: (series: Uint8Array) => this.upstream.post(destination, 0, event(series), true, 0),
    };
    for await (const reply of readSeries(upstream, data, timeout)) yield decodedReply(reply);
  }
}

function isSeveral(destination: string | Several): destination is Several {
  return typeof destination !== "string" || isListName(destination);
}

const ONCE: Handling = { durable: false };
const DURABLE: Handling = { durable: true };

/** Throws RangeError for a time-out that is none. */
function checkTimeout(timeout: number): void {
  if (!(timeout > 0)) throw new RangeError(`timeout ${timeout}: a request waits for a number of seconds`);
}

async function* allFitted(
  replies: AsyncGenerator<unknown, void, void>,
  fit: (reply: unknown) => unknown,
): AsyncGenerator<unknown, void, void> {
  for await (const reply of replies) yield fit(reply);
}

/** Throws RequestFailed. */
function decodedReply(reply: Uint8Array): unknown {
  try {
    return decode(reply);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new RequestFailed(`the reply cannot be decoded: ${error.message}`);
  }
}

/** How a message of this node to itself ended. */
function outcomeOf(result: Result): Outcome {
  if (result === NOBODY) return UNHANDLED;
  const { error } = result;
  if (!error) return DELIVERED;
  return error instanceof Refused
    ? { state: "refused", reason: error.message }
    : { state: "failed", reason: `${nameOf(error)}: ${error.message}` };
}

function encoded(result: Result): Result<Uint8Array> {
  if (result === NOBODY) return NOBODY;
  if (result.error) return { error: result.error };
  try {
    return { value: encode(result === DONE ? null : result.value) };
  } catch (error) {
    return { error: error as Error };
  }
}

/** The value of what a peer sent, undefined when nobody wants it decoded. Throws what says why it has none. */
function checked(payload: Uint8Array, route: Route): unknown {
  if (payload.length > route.maxSize) throw new Refused(TOO_LARGE);
  return route.raw ? undefined : decode(payload, route.maxValues);
}
