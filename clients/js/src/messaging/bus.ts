/** Local publish and subscribe: exact names and wildcards, the match cached by name. */

import { checkPattern } from "../message.js";
import { matches } from "./patterns.js";
import { type Handler, NOBODY, Pending, type Result, Subscriber, type SubscriptionOptions } from "./subscriber.js";

const MAX_ROUTES = 4096;
const DEFAULTS = { retries: 3, backoff: 1, ordered: false };

export class Bus {
  private subscribers: Subscriber[] = [];
  private readonly routes = new Map<string, Subscriber[]>();
  private closed = false;
  /** Called when there is a new handler. */
  changed: () => void = () => {};

  constructor(private readonly failed: (error: Error, topic: string) => void) {}

  /** The function ends the subscription. */
  on(pattern: string, handler: Handler, options: SubscriptionOptions = {}): () => void {
    return this.add(pattern, handler, false, options);
  }

  /** As `on`, for one message. */
  once(pattern: string, handler: Handler, options: SubscriptionOptions = {}): () => void {
    return this.add(pattern, handler, true, options);
  }

  off(pattern: string, handler: Handler): void {
    this.remove(this.subscribers.filter((one) => one.pattern === pattern && one.handler === handler));
  }

  listens(name: string): boolean {
    return this.route(name).length > 0;
  }

  /**
   * Hand a message to all whose pattern matches `scope.topic`; `finished` is called once, perhaps at once. One that is
   * `durable` is repeated when a handler throws.
   */
  deliver(
    scope: string,
    topic: string,
    sender: string,
    payload: unknown,
    durable: boolean,
    finished: (result: Result) => void,
  ): void {
    if (this.closed) return; // it stays unfinished, and comes again
    const name = `${scope}.${topic}`;
    const route = this.route(name);
    if (!route.length) {
      finished(NOBODY);
      return;
    }
    const pending = new Pending(route.length, durable, finished);
    for (const subscriber of [...route]) subscriber.offer({ name, sender, payload, pending, tries: 0 });
  }

  close(): void {
    this.closed = true;
    for (const subscriber of this.subscribers) subscriber.close();
  }

  private add(pattern: string, handler: Handler, once: boolean, options: SubscriptionOptions): () => void {
    checkPattern(pattern);
    if (typeof handler !== "function") throw new TypeError(`${pattern}: a handler is a function`);
    const end = (): void => this.remove([subscriber]);
    const complete = { ...DEFAULTS, ...options };
    const subscriber = new Subscriber(pattern, handler, complete, once ? end : () => {}, this.failed);
    this.subscribers.push(subscriber);
    this.routes.clear();
    this.changed();
    return end;
  }

  /** What waits in their queues is still handled. */
  private remove(gone: Subscriber[]): void {
    this.subscribers = this.subscribers.filter((one) => !gone.includes(one));
    this.routes.clear();
  }

  private route(name: string): Subscriber[] {
    let route = this.routes.get(name);
    if (route) return route;
    const segments = name.split(".");
    route = this.subscribers.filter((subscriber) => matches(subscriber.segments, segments));
    if (this.routes.size >= MAX_ROUTES) this.routes.clear();
    this.routes.set(name, route);
    return route;
  }
}
