/** Publish, subscribe and request: topics and payloads in, topics and payloads out. */

import { decode, encode } from "../codec.js";
import { type Event, TOO_LARGE } from "../delivery/wire.js";
import { NoResponders, nameOf, Refused, RequestFailed, RequestTimeout } from "../errors.js";
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
import type { ProtocolHandler } from "./dispatch.js";
import type { SubscriptionOptions } from "./options.js";
import { DONE, type Handler, NOBODY, type Result } from "./subscriber.js";

export const PROTOCOL = "ms";
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

/** What moves bytes to peers. `expires` is in Unix milliseconds, `timeout` in milliseconds. */
export interface Upstream {
  readonly signId: string;
  post(destination: string, lane: number, event: Event, realtime: boolean, expires: number): Promise<Delivery>;
  ask(destination: string, event: Event, timeout: number): Promise<Uint8Array>;
}

/** Handlers get (name, sender, payload), the name being `scope.topic`. */
export class Messaging implements ProtocolHandler {
  private readonly bus: Bus;

  constructor(
    private readonly upstream: Upstream,
    failed: (error: Error, topic: string) => void,
  ) {
    this.bus = new Bus(failed);
  }

  /**
   * Call `handler` for every message whose name (`scope.topic`) matches `pattern`; `*` is one segment, `>` one or more.
   * The message is acknowledged when the promise it returns has settled. A handler that throws gets a durable message again
   * (`options` say how often), then it is put among the failed ones of the inbox. What a friend or device of ours sent
   * before there was a handler comes first. The function returned ends the subscription.
   */
  on(pattern: string, handler: Handler, options: SubscriptionOptions = {}): () => void {
    return this.bus.on(pattern, handler, options);
  }

  once(pattern: string, handler: Handler, options: SubscriptionOptions = {}): () => void {
    return this.bus.once(pattern, handler, options);
  }

  off(pattern: string, handler: Handler): void {
    this.bus.off(pattern, handler);
  }

  /** Send to everybody at `destination` who listens to `topic` there. Resolves once the message is saved here. */
  async send(
    topic: string,
    destination: string = LOCAL,
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
    return this.upstream.post(destination, lane, { topic, protocol: PROTOCOL, payload: data }, realtime, expires);
  }

  /**
   * Ask one peer and return what its handler returned. Throws RequestTimeout after `timeout` seconds, Unreachable
   * once attempts to reach the peer have failed for a second, RequestFailed with the text of the error there, or
   * NoResponders at once when nobody listens.
   */
  async request(
    topic: string,
    destination: string = LOCAL,
    payload: unknown = null,
    { timeout = 10 } = {},
  ): Promise<unknown> {
    checkTopic(topic);
    if (!(timeout > 0)) throw new RangeError(`timeout ${timeout}: a request waits for a number of seconds`);
    const data = encode(payload);
    if (this.isLocal(destination)) return this.requestLocal(topic, data, timeout);
    return decode(await this.upstream.ask(destination, { topic, protocol: PROTOCOL, payload: data }, timeout * 1000));
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
    this.deliver(scope, topic, sender, payload, false, () => {});
  }

  /** What a peer, or this node itself, sent; its result may come later. What cannot be decoded is refused. */
  onMessage(
    scope: string,
    topic: string,
    sender: string,
    payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    this.deliver(scope, topic, sender, payload, true, finished);
  }

  private deliver(
    scope: string,
    topic: string,
    sender: string,
    payload: Uint8Array,
    durable: boolean,
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
    this.bus.deliver(route, sender, { bytes: payload, value }, durable, finished);
  }

  /** As `onMessage`; a result with a value is that value in bytes. */
  onRequest(
    scope: string,
    topic: string,
    sender: string,
    payload: Uint8Array,
    finished: (result: Result<Uint8Array>) => void,
  ): void {
    this.deliver(scope, topic, sender, payload, false, (result) => finished(encoded(result)));
  }

  close(): void {
    this.bus.close();
  }

  private isLocal(destination: string): boolean {
    return destination === LOCAL || destination === this.upstream.signId;
  }

  private sendLocal(topic: string, data: Uint8Array, realtime: boolean): Delivery {
    const delivery = new Delivery(this.upstream.signId);
    if (realtime) delivery.settle(SENT);
    this.deliver("self", topic, this.upstream.signId, data, !realtime, (result) => delivery.settle(outcomeOf(result)));
    return delivery;
  }

  private requestLocal(topic: string, data: Uint8Array, timeout: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new RequestTimeout(`no reply to ${topic} in time`)), timeout * 1000);
      this.onRequest("self", topic, this.upstream.signId, data, (result) => {
        clearTimeout(timer);
        if (result === NOBODY) reject(new NoResponders(`nobody listens to ${topic}`));
        else if (result.error) reject(new RequestFailed(`${nameOf(result.error)}: ${result.error.message}`));
        else resolve(decode(result.value!, Infinity));
      });
    });
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
