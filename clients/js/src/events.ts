/** The events of a platform. */

import { asError } from "./errors.js";
import { escaped, traceOf } from "./text.js";

export interface Events {
  /** Somebody connected: its signId. */
  connection: [peer: string];
  disconnected: [peer: string, reason: string];
  /** A stranger has added us as a friend, and asks for the same: its signId. */
  asking: [peer: string];
  /** What is said to a peer goes over this address now: a relay's, or "webrtc:" for a direct one. */
  path: [peer: string, address: string];
  /** Something went wrong that no call can report: in a handler (with its topic), a relay, the storage. */
  error: [error: Error, topic: string];
}

type Listener<E extends keyof Events> = (...values: Events[E]) => void;

export class Emitter {
  private readonly listeners: { [E in keyof Events]: Listener<E>[] } = {
    connection: [],
    disconnected: [],
    path: [],
    asking: [],
    error: [],
  };

  on<E extends keyof Events>(event: E, listener: Listener<E>): void {
    this.listeners[event].push(listener);
  }

  off<E extends keyof Events>(event: E, listener: Listener<E>): void {
    const position = this.listeners[event].indexOf(listener);
    if (position >= 0) this.listeners[event].splice(position, 1);
  }

  /** An error nobody listens to is shown on the console, not swallowed. */
  emit<E extends keyof Events>(event: E, ...values: Events[E]): void {
    const listeners = [...this.listeners[event]];
    if (event === "error" && !listeners.length) console.error("mm-platform:", ...values.map(shown));
    for (const listener of listeners) {
      try {
        listener(...values);
      } catch (thrown) {
        if (event === "error") console.error("mm-platform:", shown(thrown));
        else this.emit("error", asError(thrown), event);
      }
    }
  }
}

/** What a handler threw often quotes what it was sent. */
function shown(value: unknown): string {
  return value instanceof Error ? traceOf(value) : escaped(String(value));
}
