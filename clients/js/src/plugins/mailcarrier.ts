/** The contract of whoever keeps mail for peers that are away: a transport that leaves it at relays is one. */

import type { SignId } from "../identity/keys.js";

/** `id` has 16 bytes; `expires` is in Unix milliseconds. */
export interface Mail {
  id: Uint8Array;
  expires: number;
  envelope: Uint8Array;
}

export interface MailCarrier {
  /**
   * Leave an envelope for `peer` at the relay at `address`; resolves once it is on the relay's disk. The same `id` twice
   * is kept once. Throws Unreachable, MailDeclined, or MailHeldUp when it is on the disk of a relay between only.
   */
  deposit(address: string, peer: SignId, mail: Mail): Promise<void>;
}

/** What a carrier tells the node it belongs to. */
export interface MailHost {
  /**
   * An envelope for us. `done` is called once: `handled` when all in it is handled and saved, not so when it cannot be
   * opened; never when it should come again.
   */
  mailReceived(envelope: Uint8Array, done: (handled: boolean) => void): void;
  /** What became of an envelope that was deposited for `peer`: delivered, expired, refused or overflow; room: there is again. */
  mailFinished(peer: SignId, state: string): void;
}

/** Whether it keeps mail too. */
export function carriesMail<T extends object>(transport: T): transport is T & MailCarrier {
  return typeof (transport as Partial<MailCarrier>).deposit === "function";
}
