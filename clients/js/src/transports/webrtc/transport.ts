/**
 * WebRTC as a transport: direct links through NATs, made over any link to the peer that is up already. Its address is
 * `webrtc:`, the same for every peer. There is at most one attempt with a peer at a time; when both ends offer at once,
 * the offer of the smaller signId wins (docs/protocol/webrtc.rst).
 */

import { equal, hex, random } from "../../bytes.js";
import { asError, LocalError, ProtocolError, Unreachable } from "../../errors.js";
import type { SignId } from "../../identity/keys.js";
import { type Accept, type Connection, PUNCHED, type Transport, type TransportHost } from "../../plugins/transport.js";
import { Attempt } from "./attempt.js";
import { ADDRESS } from "./connection.js";
import type { MakePair } from "./pair.js";
import { Rates } from "./protocol/rates.js";
import { type Description, parse } from "./protocol/sdp.js";
import { ATTEMPT, decodeSignal, encodeSignal, type Signal } from "./protocol/signalling.js";

const MAX_SERVING = 32; // offers that are being answered at the same time
const BUSY = "busy: said the peer";
const BUSY_PAUSES = [1200, 2500]; // milliseconds until a peer that is busy is asked again: it admits an offer a second
const REMEMBERED = 256; // attempts that were served: their offers are not answered again

export interface WebRTCOptions {
  /** STUN and TURN servers; without any, links are made between hosts that reach each other's own addresses. */
  iceServers?: RTCIceServer[];
  /** Makes peer connections; the browser's own, unless told. */
  make?: MakePair;
}

/** Whether this JavaScript has WebRTC: browsers do, Node.js and workers do not. */
export function hasWebRTC(): boolean {
  return typeof globalThis.RTCPeerConnection === "function";
}

export class WebRTC implements Transport {
  readonly schemes = ["webrtc"];
  readonly cost = PUNCHED;
  readonly relayed = false;
  readonly signalling = true;
  private host!: TransportHost;
  private accept: Accept | undefined;
  private readonly attempts = new Map<SignId, Attempt>();
  private readonly served: string[] = [];
  private readonly rates = new Rates();
  private readonly iceServers: RTCIceServer[];
  private readonly make: MakePair;
  private closed = false;

  constructor({ iceServers = [], make = (configuration) => new RTCPeerConnection(configuration) }: WebRTCOptions = {}) {
    this.iceServers = iceServers;
    this.make = make;
  }

  attach(host: TransportHost): void {
    this.host = host;
  }

  /**
   * Throws Unreachable with a reason word: no-link, crossed, busy, no-candidates, no-answer, udp-blocked, failed, or what
   * the peer said.
   */
  async dial(_address: string, peer: SignId, accept: Accept): Promise<Connection> {
    for (const pause of BUSY_PAUSES) {
      try {
        return await this.dialOnce(peer, accept);
      } catch (error) {
        if (!asError(error).message.endsWith(BUSY)) throw error;
      }
      await new Promise((go) => setTimeout(go, pause));
    }
    return this.dialOnce(peer, accept);
  }

  private async dialOnce(peer: SignId, accept: Accept): Promise<Connection> {
    if (this.closed) throw new Unreachable(`${ADDRESS} stopping: this node is stopping`);
    if (this.attempts.has(peer)) throw new Unreachable(`${ADDRESS} busy: a direct link to the peer is being made`);
    if (!this.host.linked(peer)) throw new Unreachable(`${ADDRESS} no-link: no link to the peer is up to signal over`);
    const attempt = this.attempt(peer, random(ATTEMPT), true);
    try {
      return await attempt.dial(accept);
    } finally {
      this.done(peer, attempt);
    }
  }

  async listen(hint: string, accept: Accept): Promise<string[]> {
    if (hint !== ADDRESS || this.accept) throw new LocalError(`${ADDRESS} this node answers offers already`);
    this.accept = accept;
    return [ADDRESS];
  }

  /** What the peer's transport says to ours. */
  signalled(peer: SignId, data: Uint8Array): void {
    let signal: Signal;
    try {
      signal = decodeSignal(data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return;
    }
    const attempt = this.attempts.get(peer);
    if (signal.kind === "offer") this.offered(peer, signal);
    else if (attempt && equal(attempt.number, signal.attempt)) heard(attempt, signal);
    else if (signal.kind === "answer") this.say(peer, { kind: "end", attempt: signal.attempt, body: "gone" });
  }

  /** Connections that are open stay so. */
  async close(): Promise<void> {
    this.closed = true;
    this.accept = undefined;
    for (const attempt of this.attempts.values()) attempt.fail("stopping: this node is stopping");
  }

  /** Answer it, unless it is old, the lesser of two, or too much. */
  private offered(peer: SignId, { attempt: number, body }: Signal): void {
    const attempt = this.attempts.get(peer);
    if (this.served.includes(hex(number))) return;
    if (attempt?.ours && this.host.identity.signId < peer) {
      attempt.repeat();
      return;
    }
    const { accept } = this;
    const offer = accept ? this.offerIn(peer, body) : "not-listening";
    if (!accept || typeof offer === "string") {
      this.say(peer, { kind: "end", attempt: number, body: offer as string });
      return;
    }
    if (attempt) {
      attempt.fail("crossed: the peer dialled at the same time, and its offer is answered");
      this.done(peer, attempt);
    }
    this.served.push(hex(number));
    if (this.served.length > REMEMBERED) this.served.shift();
    const serving = this.attempt(peer, number, false);
    serving
      .serve(offer, accept)
      .catch(() => {})
      .finally(() => this.done(peer, serving));
  }

  /** The description in it, or the word by which it is refused. */
  private offerIn(peer: SignId, body: string): Description | string {
    const serving = [...this.attempts.values()].filter(({ ours }) => !ours).length;
    if (serving >= MAX_SERVING || !this.rates.admit(peer, performance.now() / 1000, this.host.trusts(peer)))
      return "busy";
    try {
      return parse(body);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return error.reason;
    }
  }

  private attempt(peer: SignId, number: Uint8Array, ours: boolean): Attempt {
    const attempt = new Attempt(
      number,
      ours,
      this.make,
      this.iceServers,
      (signal) => this.say(peer, signal),
      this.host.trusts(peer),
    );
    this.attempts.set(peer, attempt);
    return attempt;
  }

  private done(peer: SignId, attempt: Attempt): void {
    if (this.attempts.get(peer) === attempt) this.attempts.delete(peer);
    attempt.close();
  }

  private say(peer: SignId, signal: Signal): boolean {
    return this.host.signal(peer, this.schemes[0]!, encodeSignal(signal));
  }
}

function heard(attempt: Attempt, { kind, body }: Signal): void {
  if (kind === "answer") attempt.answered(body);
  else if (kind === "candidate") attempt.trickled(body);
  else attempt.ended(body);
}
