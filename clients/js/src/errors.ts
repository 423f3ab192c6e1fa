/** The error tree: what went wrong here (Local), at or with the other side (Remote), or with one message (Delivery). */

import { escaped } from "./text.js";

const LONGEST = 2048; // characters of a text: it may tell of several addresses

/** Its text is often that of others, so it is escaped, whoever prints it. */
export class MMError extends Error {
  constructor(message: string) {
    super(escaped(message, LONGEST));
    this.name = new.target.name;
  }
}

export class LocalError extends MMError {}
export class NotRunning extends LocalError {
  constructor(message: string = "the platform is stopping") {
    super(message);
  }
}
export class InvalidKey extends LocalError {}
export class InvalidTopic extends LocalError {}
export class InvalidPayload extends LocalError {}
export class ControlTopic extends LocalError {}
export class CodecError extends LocalError {}
export class StorageError extends LocalError {}
export class TicketError extends LocalError {}
export class IdentityError extends LocalError {}

export class RemoteError extends MMError {}
export class Unreachable extends RemoteError {}
/** A relay does not keep an envelope. */
export class MailDeclined extends RemoteError {}
/** A relay keeps an envelope, and cannot pass it on to the relay of the recipient now: a copy should be left elsewhere. */
export class MailHeldUp extends RemoteError {}
export class BadSignature extends RemoteError {}
export class NoResponders extends RemoteError {}
export class RequestTimeout extends RemoteError {}
export class RequestFailed extends RemoteError {}

/** A signed record that is not to be believed; `reason` is a word of docs/protocol/identity.rst. */
export class InvalidRecord extends RemoteError {
  constructor(
    readonly reason: string,
    detail: string,
  ) {
    super(`${reason}: ${detail}`);
  }
}

/** The peer broke the protocol; `reason` is a word of the specification. */
export class ProtocolError extends RemoteError {
  constructor(
    readonly reason: string,
    detail: string = "",
  ) {
    super(detail ? `${reason}: ${detail}` : reason);
  }
}

export class DeliveryError extends MMError {}
export class Expired extends DeliveryError {}
/** A handler of the peer threw, again and again; the text is that of its error, as far as we may know it. */
export class HandlerFailed extends DeliveryError {}
/** A handler throws it, too: its text is for the sender, whoever that is. */
export class Refused extends DeliveryError {}

/** A handler throws it to have this one message again after `after` seconds, while later ones pass. */
export class Retry extends Error {
  constructor(readonly after: number = 1) {
    super(`again in ${after} s`);
  }
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
