/**
 * The transport contract: whole frames in order between two ends. Frames are opaque to a transport. Every callback but
 * `pauseWriting` comes from the event loop, never from within `write`, `close` or `abort`.
 */

import type { Identity, SignId } from "../identity/keys.js";
import type { MailHost } from "./mailcarrier.js";

/** No transport carries a longer frame (docs/protocol/session.rst). */
export const LENGTH_LIMIT = 256 * 1024;

/** What a connection costs: the lower, the sooner it is chosen. Between two, links/paths.ts weighs round trips, too. */
export const PUNCHED = 20; // through NATs, with more work a frame
export const RELAYED = 40;

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
  /** Lower is better: PUNCHED, RELAYED, or between. */
  readonly cost: number;
  /** Whether frames go through a third party. */
  readonly relayed: boolean;
  /** Queue one frame; never blocks. After close or loss it does nothing. */
  write(frame: Uint8Array): void;
  /** Send what is queued, then close. */
  close(): void;
  /** Close at once; what is queued is lost. */
  abort(): void;
}

export type Accept = (connection: Connection) => Receiver;

/** What a transport may ask of, and tell, the node it belongs to. */
export interface TransportHost extends MailHost {
  readonly identity: Identity;
  failed(error: Error): void;
  /** Whether the peer may make us go anywhere: it is known here, or its ticket was added. */
  trusts(peer: SignId): boolean;
  /** Whether a link to the peer is up. */
  linked(peer: SignId): boolean;
  /** Say something to the transport of `scheme` at the peer, over a link that is up; false when there is none. */
  signal(peer: SignId, scheme: string, data: Uint8Array): boolean;
  /** `peer`, which could not be reached, can be reached now. */
  present(peer: SignId): void;
}

/** One way to move frames. `schemes` are the first parts of its addresses, as in `relay+wss://host/KEY`. */
export interface Transport {
  readonly schemes: readonly string[];
  /** That of its connections. */
  readonly cost: number;
  /** Whether its connections go through a third party. */
  readonly relayed: boolean;
  /** It can be dialled only while another link to the peer is up: the two ends agree by signals how to meet. */
  readonly signalling?: boolean;
  /** Called once by the node, before anything else. */
  attach(host: TransportHost): void;
  /**
   * Connect to `peer` at `address`. `accept` gives the receiver before the first frame comes; the side that dials writes
   * the first frame. Throws Unreachable (at a meeting point it may come later, as what the connection is lost by).
   */
  dial(address: string, peer: SignId, accept: Accept): Promise<Connection>;
  /** Accept connections at `hint`; the addresses others may dial. */
  listen(hint: string, accept: Accept): Promise<string[]>;
  /** What the peer's transport said with `signal`. */
  signalled?(peer: SignId, data: Uint8Array): void;
  /** Stop listening and let go of everything. */
  close(): Promise<void>;
}

/** An address, and the transport that can dial it. */
export interface Dialable<T extends Transport = Transport> {
  readonly address: string;
  readonly transport: T;
}

/** The transport among these for addresses of `scheme`. */
export function transportOf<T extends Transport>(scheme: string, transports: readonly T[]): T | undefined {
  return transports.find(({ schemes }) => schemes.includes(scheme));
}

/** Those of the addresses that one of the transports can dial. */
export function dialable<T extends Transport>(addresses: readonly string[], transports: readonly T[]): Dialable<T>[] {
  return addresses.flatMap((address) => {
    const transport = transportOf(schemeOf(address), transports);
    return transport ? [{ address, transport }] : [];
  });
}

export function schemeOf(address: string): string {
  return address.slice(0, address.indexOf(":"));
}
