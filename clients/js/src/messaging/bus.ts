/** Local publish and subscribe: exact names and wildcards, the match cached by name. */

import type { Handler } from "./handlers.js";
import { checkOptions, type Parsing, PUBLIC_SIZE, type SubscriptionOptions, sizeFrom, valuesFrom } from "./options.js";
import { checkPattern, matches } from "./patterns.js";
import { type Handling, Pending, type Result, Subscriber } from "./subscriber.js";

const MAX_ROUTES = 4096;
const DEFAULTS = { retries: 3, backoff: 1, ordered: false };

/** Who listens to one name, and what the most generous of them takes. */
export class Route {
  readonly maxSize: number;
  readonly maxValues: number;
  /** Nobody wants the payload decoded. */
  readonly raw: boolean;

  constructor(
    readonly name: string,
    readonly subscribers: readonly Subscriber[],
  ) {
    const [scope = ""] = name.split(".", 1);
    const decoding = subscribers.filter(({ options }) => !options.raw);
    this.raw = !decoding.length;
    this.maxSize = Math.max(0, ...subscribers.map(({ options }) => sizeFrom(scope, options)));
    this.maxValues = Math.max(0, ...decoding.map(({ options }) => valuesFrom(scope, options)));
  }
}

/** How a subscription handles its messages, and what it makes of their payloads. */
export type BusOptions = SubscriptionOptions & Partial<Parsing<unknown>>;

/** The bytes of a payload, and the value in them. */
export interface Payload {
  bytes: Uint8Array;
  value: unknown;
}

export class Bus {
  /** Bytes of a stranger's payload that some subscription takes. */
  largest = PUBLIC_SIZE;
  private subscribers: Subscriber[] = [];
  private readonly routes = new Map<string, Route>();
  private closed = false;
  /** Called when there is a new handler. */
  changed: () => void = () => {};

  constructor(private readonly failed: (error: Error, topic: string) => void) {}

  /** The function ends the subscription. */
  on(pattern: string, handler: Handler, options: BusOptions = {}): () => void {
    return this.add(pattern, handler, false, options);
  }

  /** As `on`, for one message. */
  once(pattern: string, handler: Handler, options: BusOptions = {}): () => void {
    return this.add(pattern, handler, true, options);
  }

  off(pattern: string, handler: Handler): void {
    this.remove(this.subscribers.filter((one) => one.pattern === pattern && one.handler === handler));
  }

  listens(name: string): boolean {
    return this.route(name).subscribers.length > 0;
  }

  /** Hand a message to the subscribers of `route`; `finished` is called once, perhaps at once. */
  deliver(
    { name, subscribers }: Route,
    sender: string,
    { bytes, value }: Payload,
    handling: Handling,
    finished: (result: Result) => void,
  ): void {
    if (this.closed) return; // it stays unfinished, and comes again
    const pending = new Pending(subscribers.length, handling, finished);
    for (const subscriber of [...subscribers]) {
      const payload = subscriber.options.raw ? bytes : value;
      subscriber.offer({ name, sender, payload, pending, tries: 0 });
    }
  }

  close(): void {
    this.closed = true;
    for (const subscriber of this.subscribers) subscriber.close();
  }

  private add(pattern: string, handler: Handler, once: boolean, options: BusOptions): () => void {
    checkPattern(pattern);
    if (typeof handler !== "function") throw new TypeError(`${pattern}: a handler is a function`);
    checkOptions(options);
    const { parse = asItIs } = options;
    if (typeof parse !== "function")
      throw new TypeError(`${pattern}: parse is a function: (value) => what it makes of it`);
    const end = (): void => this.remove([subscriber]);
    const complete = { ...DEFAULTS, ...options };
    const subscriber = new Subscriber(pattern, handler, complete, parse, once ? end : () => {}, this.failed);
    this.subscribers.push(subscriber);
    this.look();
    this.changed();
    return end;
  }

  /** What waits in their queues is still handled. */
  private remove(gone: Subscriber[]): void {
    this.subscribers = this.subscribers.filter((one) => !gone.includes(one));
    this.look();
  }

  private look(): void {
    this.routes.clear();
    const public_ = this.subscribers.filter(({ segments }) => ["public", "*", ">"].includes(segments[0]!));
    this.largest = Math.max(PUBLIC_SIZE, ...public_.map(({ options }) => sizeFrom("public", options)));
  }

  /** Who listens to `name`. */
  route(name: string): Route {
    const known = this.routes.get(name);
    if (known) return known;
    const segments = name.split(".");
    const found = this.subscribers.filter((subscriber) => matches(subscriber.segments, segments));
    const route = new Route(name, found);
    if (this.routes.size >= MAX_ROUTES) this.routes.clear();
    this.routes.set(name, route);
    return route;
  }
}

function asItIs(value: unknown): unknown {
  return value;
}
