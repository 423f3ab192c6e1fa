/** What handlers of the platform's own protocols have in common: each takes one kind of message, and nothing else. */

import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import type { InHand, ProtocolHandler } from "./dispatch.js";
import { PUBLIC_SIZE } from "./options.js";
import { NOBODY, type Result } from "./subscriber.js";

/** Takes nothing; each protocol says what it takes after all. */
export class InternalHandler implements ProtocolHandler {
  readonly largest = PUBLIC_SIZE;

  listens(): boolean {
    return true;
  }

  onEvent(_scope: Scope, _topic: string, _sender: SignId, _payload: Uint8Array): void {}

  onMessage(
    _scope: Scope,
    _topic: string,
    _sender: SignId,
    _payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    finished(NOBODY);
  }

  onRequest(_scope: Scope, _topic: string, _sender: SignId, _payload: Uint8Array, asked: InHand): void {
    asked.finish(NOBODY);
  }
}
