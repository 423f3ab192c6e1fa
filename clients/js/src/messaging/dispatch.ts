/** Checks the topic of what peers send and hands it to the handler of its protocol. */

import type { Event, Request } from "../delivery/wire.js";
import { InvalidTopic, Refused } from "../errors.js";
import { isControlTopic, type Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import { checkTopic, MAX_PAYLOAD } from "../message.js";
import { PUBLIC_SIZE } from "./options.js";
import { NOBODY, type Result } from "./subscriber.js";

/** A request whose handlers are at work. */
export interface InHand {
  /** End it, once, perhaps at once; NOBODY says that nobody listens. */
  finish(result: Result<Uint8Array>): void;
  /** Whether the peer still waits. */
  wanted(): boolean;
  /** Whether the peer does not read what it has asked for. */
  clogged(): boolean;
  /** With whom a stranger shares its room: the same for all of a network, or of a relay. */
  readonly party: string;
}

/** What a protocol implements. `finished` is called once, perhaps at once; NOBODY says that nobody listens. */
export interface ProtocolHandler {
  /** Whether there is a handler for this topic. */
  listens(scope: Scope, topic: string): boolean;
  /** The bytes that a stranger's payload may have: a larger one is not even put together. */
  readonly largest: number;
  onEvent(scope: Scope, topic: string, sender: SignId, payload: Uint8Array): void;
  onMessage(scope: Scope, topic: string, sender: SignId, payload: Uint8Array, finished: (result: Result) => void): void;
  onRequest(scope: Scope, topic: string, sender: SignId, payload: Uint8Array, asked: InHand): void;
}

/** A topic that is malformed, or steers a node, reaches no handler; a protocol without a handler has nobody who listens. */
export class Dispatcher {
  private readonly handlers = new Map<string, ProtocolHandler>();

  /** Hand everything of `protocol` to `handler` from now on. */
  attach(protocol: string, handler: ProtocolHandler): void {
    this.handlers.set(protocol, handler);
  }

  listens(scope: Scope, topic: string, protocol: string): boolean {
    return this.handlers.get(protocol)?.listens(scope, topic) ?? false;
  }

  /** The bytes that a payload of a peer in `scope` may have: a larger one is not even put together. */
  largest(scope: Scope): number {
    if (scope !== "public") return MAX_PAYLOAD;
    return Math.max(PUBLIC_SIZE, ...Array.from(this.handlers.values(), ({ largest }) => largest));
  }

  event(scope: Scope, peer: SignId, { topic, protocol, payload }: Event): void {
    if (isAllowed(topic)) this.handlers.get(protocol)?.onEvent(scope, topic, peer, payload);
  }

  message(scope: Scope, peer: SignId, { topic, protocol, payload }: Event, finished: (result: Result) => void): void {
    const handler = this.handlers.get(protocol);
    if (!isAllowed(topic)) finished({ error: new Refused("bad-topic") });
    else if (handler) handler.onMessage(scope, topic, peer, payload, finished);
    else finished(NOBODY);
  }

  request(scope: Scope, peer: SignId, { topic, protocol, payload }: Request, asked: InHand): void {
    const handler = this.handlers.get(protocol);
    if (!isAllowed(topic)) asked.finish({ error: new Refused("bad-topic") });
    else if (handler) handler.onRequest(scope, topic, peer, payload, asked);
    else asked.finish(NOBODY);
  }
}

/** Whether a peer may use `topic`: well formed, and no control topic. */
function isAllowed(topic: string): boolean {
  try {
    checkTopic(topic);
    return !isControlTopic(topic);
  } catch (error) {
    if (error instanceof InvalidTopic) return false;
    throw error;
  }
}
