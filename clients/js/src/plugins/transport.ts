/**
 * The transport contract: whole frames in order between two ends. Frames are opaque to a transport. Every callback but
 * `pauseWriting` comes from the event loop, never from within `write`, `close` or `abort`.
 */

import type { Identity, SignId } from "../identity/keys.js";

/** No transport carries a longer frame (docs/protocol/session.rst). */
export const LENGTH_LIMIT = 256 * 1024;

/** What a connection calls. */
export interface Receiver {
  frameReceived(frame: Uint8Array): void;
  /** The last callback, exactly once; undefined when either end closed it in order. */
  connectionLost(error: Error | undefined): void;
  /** More is buffered than should be: write only what cannot wait. May come from within `write`. */
  pauseWriting(): void;
  resumeWriting(): void;
}

/** One open connection. */
export interface Connection {
  /** Where the other end is, for people and logs. */
  readonly address: string;
  readonly maxFrame: number;
  /** Lower is better: 20 webrtc, 40 relay. */
  readonly cost: number;
  /** Queue one frame; never blocks. After close or loss it does nothing. */
  write(frame: Uint8Array): void;
  /** Send what is queued, then close. */
  close(): void;
  /** Close at once; what is queued is lost. */
  abort(): void;
}

export type Accept = (connection: Connection) => Receiver;

/** What a transport may ask of, and tell, the platform it belongs to. */
export interface TransportNode {
  readonly identity: Identity;
  failed(error: Error): void;
  /** Whether a link to the peer is up. */
  linked(peer: SignId): boolean;
  /** Say something to the transport of `scheme` at the peer, over a link that is up; false when there is none. */
  signal(peer: SignId, scheme: string, data: Uint8Array): boolean;
  /** `peer`, which could not be reached, can be reached now. */
  present(peer: SignId): void;
  /**
   * An envelope for us. `taken` is called once: true when all in it is handled and saved, false when it cannot be opened;
   * never when it should come again.
   */
  mailCame(envelope: Uint8Array, taken: (good: boolean) => void): void;
  /** What became of an envelope that was deposited for `peer`: delivered, expired, refused or overflow. */
  mailEnded(peer: SignId, state: string): void;
}

/** `id` has 16 bytes; `expires` is in Unix milliseconds. */
export interface Mail {
  id: Uint8Array;
  expires: number;
  envelope: Uint8Array;
}

/** One way to move frames. `schemes` are the first parts of its addresses, as in `relay+wss://host/KEY`. */
export interface Transport {
  readonly schemes: readonly string[];
  /** That of its connections. */
  readonly cost: number;
  /** It can be dialled only while another link to the peer is up. */
  readonly overLink?: boolean;
  /** Called once by the platform, before anything else. */
  attach(node: TransportNode): void;
  /**
   * Connect to `peer` at `address`. `accept` gives the receiver before the first frame comes; the side that dials writes
   * the first frame. Throws Unreachable (at a meeting point it may come later, as what the connection is lost by).
   */
  dial(address: string, peer: SignId, accept: Accept): Promise<Connection>;
  /** Accept connections at `hint`; the addresses others may dial. */
  listen(hint: string, accept: Accept): Promise<string[]>;
  /** What the peer's transport said with `signal`. */
  signalled?(peer: SignId, data: Uint8Array): void;
  /**
   * Leave an envelope for `peer` at the relay at `address`; resolves once it is on the relay's disk. The same `id` twice
   * is kept once. Throws Unreachable, or MailDeclined.
   */
  deposit?(address: string, peer: SignId, mail: Mail): Promise<void>;
  /** Stop listening and let go of everything. */
  close(): Promise<void>;
}

/** An address, and the transport that can dial it. */
export interface Dialable {
  readonly address: string;
  readonly transport: Transport;
}

/** The transport among these for addresses of `scheme`. */
export function transportOf(scheme: string, transports: readonly Transport[]): Transport | undefined {
  return transports.find(({ schemes }) => schemes.includes(scheme));
}

/** Those of the addresses that one of the transports can dial. */
export function dialable(addresses: readonly string[], transports: readonly Transport[]): Dialable[] {
  return addresses.flatMap((address) => {
    const transport = transportOf(schemeOf(address), transports);
    return transport ? [{ address, transport }] : [];
  });
}

export function schemeOf(address: string): string {
  return address.slice(0, address.indexOf(":"));
}
