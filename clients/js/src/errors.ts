/**
 * The error tree: what went wrong here (Local), at or with the other side (Remote), or with one message (Delivery). Each
 * class says its `name` as a text: a bundler that minifies shortens the names of classes, and peers are told names.
 */

import { escaped } from "./text.js";

const LONGEST = 2048; // characters of a text: it may tell of several addresses

/** Its text is often that of others, so it is escaped, whoever prints it. */
export class MMError extends Error {
  override name: string = "MMError";

  constructor(message: string) {
    super(escaped(message, LONGEST));
  }
}

export class LocalError extends MMError {
  override name: string = "LocalError";
}
export class NotRunning extends LocalError {
  override name: string = "NotRunning";

  constructor(message: string = "the platform is stopping") {
    super(message);
  }
}
export class InvalidKey extends LocalError {
  override name: string = "InvalidKey";
}
export class InvalidName extends LocalError {
  override name: string = "InvalidName";
}
export class InvalidTopic extends LocalError {
  override name: string = "InvalidTopic";
}
export class InvalidPayload extends LocalError {
  override name: string = "InvalidPayload";
}
export class ControlTopic extends LocalError {
  override name: string = "ControlTopic";
}
export class CodecError extends LocalError {
  override name: string = "CodecError";
}
/** So much waits for one of several peers that none is sent a message. */
export class QueueFull extends LocalError {
  override name: string = "QueueFull";
}
export class StorageError extends LocalError {
  override name: string = "StorageError";
}
/** The browser keeps nothing for this site: cookies and site data are blocked. */
export class StorageBlocked extends StorageError {
  override name: string = "StorageBlocked";
}
/** The browser has no room for this site; what was sent meanwhile was not accepted. It is tried again. */
export class StorageFull extends StorageError {
  override name: string = "StorageFull";
}
/** The browser, or somebody at it, removed what this site had kept, while it ran. */
export class StorageCleared extends StorageError {
  override name: string = "StorageCleared";
}
/** Another tab has this storage, and with it this key. */
export class AnotherTab extends LocalError {
  override name: string = "AnotherTab";
}
/** The page came over plain http: browsers give it no locks, so two tabs would push each other out. */
export class InsecureContext extends LocalError {
  override name: string = "InsecureContext";
}
/** The clock of this device is days off: records of others look expired or not made yet. */
export class ClockWrong extends LocalError {
  override name: string = "ClockWrong";
}
export class TicketError extends LocalError {
  override name: string = "TicketError";
}
export class IdentityError extends LocalError {
  override name: string = "IdentityError";
}

export class RemoteError extends MMError {
  override name: string = "RemoteError";
}
export class Unreachable extends RemoteError {
  override name: string = "Unreachable";
}
/** A relay does not keep an envelope. */
export class MailDeclined extends RemoteError {
  override name: string = "MailDeclined";
}
/** A relay keeps an envelope, and cannot pass it on to the relay of the recipient now: a copy should be left elsewhere. */
export class MailHeldUp extends RemoteError {
  override name: string = "MailHeldUp";
}
export class BadSignature extends RemoteError {
  override name: string = "BadSignature";
}
export class NoResponders extends RemoteError {
  override name: string = "NoResponders";
}
export class RequestTimeout extends RemoteError {
  override name: string = "RequestTimeout";
}
export class RequestFailed extends RemoteError {
  override name: string = "RequestFailed";
}

/** A signed record that is not to be believed; `reason` is a word of docs/protocol/identity.rst. */
export class InvalidRecord extends RemoteError {
  override name: string = "InvalidRecord";

  constructor(
    readonly reason: string,
    detail: string,
  ) {
    super(`${reason}: ${detail}`);
  }
}

/** The peer broke the protocol; `reason` is a word of the specification. */
export class ProtocolError extends RemoteError {
  override name: string = "ProtocolError";

  constructor(
    readonly reason: string,
    detail: string = "",
  ) {
    super(detail ? `${reason}: ${detail}` : reason);
  }
}

export class DeliveryError extends MMError {
  override name: string = "DeliveryError";
}
export class Expired extends DeliveryError {
  override name: string = "Expired";
}
/** Its sender took it back. */
export class Cancelled extends DeliveryError {
  override name: string = "Cancelled";
}
/** A handler of the peer threw, again and again; the text is that of its error, as far as we may know it. */
export class HandlerFailed extends DeliveryError {
  override name: string = "HandlerFailed";
}
/** A handler throws it, too: its text is for the sender, whoever that is. */
export class Refused extends DeliveryError {
  override name: string = "Refused";
}

/** A message to several ended undelivered at some: `failed` says why, by signId; `delivered` has those who have it. */
export class NotAllDelivered extends DeliveryError {
  override name: string = "NotAllDelivered";

  constructor(
    message: string,
    readonly failed: ReadonlyMap<string, DeliveryError>,
    readonly delivered: readonly string[],
  ) {
    super(message);
  }
}

/** A handler throws it to have this one message again after `after` seconds, while later ones pass. */
export class Retry extends Error {
  override name: string = "Retry";

  constructor(readonly after: number = 1) {
    super(`again in ${after} s`);
  }
}

const SHORTEST = 3; // characters of a name that says something

/** The name of an error as peers and logs are told it; what a minifier has left of one is no name. */
export function nameOf(error: Error): string {
  return error.name.length < SHORTEST ? "Error" : error.name;
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
