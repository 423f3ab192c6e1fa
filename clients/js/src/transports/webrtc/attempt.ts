/** One try to open a channel with a peer, from either side: an offer, its answer, and what became of it. */

import { isGlobal, isOpenPort } from "../../addresses.js";
import { asError, ProtocolError, Unreachable } from "../../errors.js";
import type { Accept } from "../../plugins/transport.js";
import { ADDRESS, WebRTCConnection } from "./connection.js";
import { type MakePair, Pair, type PairOwner } from "./pair.js";
import {
  type Candidate,
  candidateLine,
  chosen,
  type Description,
  describe,
  MAX_CANDIDATES,
  parse,
  parseCandidate,
} from "./protocol/sdp.js";
import type { Signal } from "./protocol/signalling.js";

const CONNECT_TIMEOUT = 8000; // milliseconds from the offer to the open channel
const INSECURE = {
  "dtls-failed":
    "the DTLS handshake failed: the other end has another certificate than it said, so that is not the peer, or broke off." +
    " The relay is used; see what answers on the way",
  "dtls-stuck":
    "packets get through, but the DTLS handshake did not end in time: a firewall drops it, or the peer hangs." +
    " Let DTLS over UDP through",
};
const CONNECTING = "connecting";

/**
 * `ours`: we offer. `number` names it in every signal. `trusted`: the peer may name any candidate. `close` leaves nothing
 * behind.
 */
export class Attempt implements PairOwner {
  private readonly pair: Pair;
  private readonly end: Promise<WebRTCConnection>;
  private resolve!: (connection: WebRTCConnection) => void;
  private reject!: (error: Error) => void;
  private accept!: Accept;
  private opening = true; // neither open nor failed
  private failedWith: Error | undefined;
  private offer: Signal | undefined;
  private answer: ((answer: Description) => void) | undefined;
  private stage = "no-candidates: this host has no address to be reached at";
  private word = ""; // what the peer is told of the end, where there is more to say than that
  private told: boolean; // the peer need not be told of the end
  private described = false; // the pair knows the peer's description
  private readonly late: (Candidate | undefined)[] = []; // candidates that came before the description they belong to
  private readonly tried: Candidate[] = [];

  constructor(
    readonly number: Uint8Array,
    readonly ours: boolean,
    make: MakePair,
    private readonly iceServers: RTCIceServer[],
    private readonly say: (signal: Signal) => boolean,
    private readonly trusted: boolean,
  ) {
    this.told = ours; // it does not know of an offer yet
    this.end = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.end.catch(() => {}); // nobody may be waiting
    this.pair = new Pair(make, iceServers, this);
  }

  /** Offer, wait for the answer, and for the channel. Throws Unreachable. */
  dial(accept: Accept): Promise<WebRTCConnection> {
    return this.inTime(accept, async () => {
      const offer = await this.pair.offer();
      this.check(offer);
      this.offer = this.signal("offer", describe(offer));
      const answered = new Promise<Description>((resolve) => (this.answer = resolve));
      if (!this.say(this.offer)) throw new Unreachable(`${ADDRESS} no-link: the link to signal over is gone`);
      this.told = false;
      this.stage = `no-answer: the peer did not answer within ${CONNECT_TIMEOUT / 1000} s`;
      const answer = this.checked(await answered);
      this.stage = CONNECTING;
      await this.pair.answered(answer);
      this.connect(answer);
    });
  }

  /** Answer an offer and wait for the channel. Throws Unreachable. */
  serve(offer: Description, accept: Accept): Promise<WebRTCConnection> {
    return this.inTime(accept, async () => {
      const heard = this.checked(offer);
      const answer = await this.pair.answer(heard);
      this.check(answer);
      this.stage = CONNECTING;
      this.say(this.signal("answer", describe(answer)));
      this.connect(heard);
    });
  }

  /** The peer's answer; of two the first counts. */
  answered(text: string): void {
    if (!this.ours || !this.opening) return;
    try {
      this.answer?.(parse(text));
    } catch (error) {
      this.fail(asError(error).message);
    }
  }

  /** A candidate the peer found later, or an empty line for the end of them. */
  trickled(line: string): void {
    try {
      const candidate = line ? parseCandidate(line) : undefined;
      if (line && !(candidate && this.admits(candidate))) return;
      if (this.described) this.try(candidate);
      else if (this.late.length <= MAX_CANDIDATES) this.late.push(candidate);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error.message);
    }
  }

  /** The peer has given it up. */
  ended(reason: string): void {
    this.told = true;
    this.fail(`${reason}: said the peer`);
  }

  /** The peer may not have heard our offer. */
  repeat(): void {
    if (this.offer) this.say(this.offer);
  }

  /** It is over, unless the channel is open. */
  fail(reason: string): void {
    if (!this.opening) return;
    this.opening = false;
    this.failedWith = new Unreachable(reason.startsWith(ADDRESS) ? reason : `${ADDRESS} ${reason}`);
    this.reject(this.failedWith);
  }

  /** Leave nothing behind, unless the channel is open. */
  close(): void {
    this.fail("closed: given up");
    if (!this.failedWith) return;
    if (!this.told) {
      this.told = true;
      this.say(this.signal("end", this.word || (this.ours ? "gone" : "failed")));
    }
    this.pair.close();
  }

  // What the pair tells.

  opened(): WebRTCConnection {
    this.opening = false;
    const connection = new WebRTCConnection(this.pair, this.accept);
    this.resolve(connection);
    return connection;
  }

  failed(): void {
    this.fail(this.unlinked());
  }

  found(line: string): void {
    if (this.opening && !this.told) this.say(this.signal("candidate", line));
  }

  // Inside.

  private async inTime(accept: Accept, run: () => Promise<void>): Promise<WebRTCConnection> {
    this.accept = accept;
    const timer = setTimeout(() => this.fail(this.unlinked()), CONNECT_TIMEOUT);
    run().catch((error: unknown) => this.fail(asError(error).message));
    try {
      return await this.end;
    } finally {
      clearTimeout(timer);
    }
  }

  private signal(kind: Signal["kind"], body: string): Signal {
    return { kind, attempt: this.number, body };
  }

  private connect(remote: Description): void {
    this.described = true;
    this.tried.push(...remote.candidates);
    for (const candidate of this.late) this.try(candidate);
  }

  /** Ours: none, and none to come. */
  private check(description: Description): void {
    if (description.complete && !description.candidates.length) throw new Unreachable(`${ADDRESS} ${this.stage}`);
  }

  /** With the candidates that are tried; none, and none to come: no way to the peer. */
  private checked(remote: Description): Description {
    const candidates = remote.candidates.filter((candidate) => this.admits(candidate));
    if (remote.complete && !candidates.length) {
      throw new Unreachable(`${ADDRESS} no-candidates: the peer has no address to be reached at`);
    }
    return { ...remote, candidates };
  }

  /** Whether anything is sent there; names, which somebody looks up, are those of known peers. */
  private admits({ host, port }: Candidate): boolean {
    return this.trusted || (isGlobal(host) && isOpenPort(port));
  }

  private try(candidate: Candidate | undefined): void {
    if (candidate) {
      const line = candidateLine(candidate);
      const known = this.tried.some((one) => candidateLine(one) === line);
      if (known || this.tried.length >= MAX_CANDIDATES || !chosen([...this.tried, candidate]).includes(candidate))
        return;
      this.tried.push(candidate);
    }
    void this.pair.add(candidate);
  }

  /** Why, for people: the first word is stable. */
  private unlinked(): string {
    if (this.stage !== CONNECTING) return this.stage;
    const { insecure } = this.pair;
    if (insecure) {
      this.word = insecure;
      return `${insecure}: ${INSECURE[insecure]}`;
    }
    const direct = this.pair.local?.candidates.some(({ kind }) => kind !== "host");
    return this.iceServers.length && !direct
      ? "udp-blocked: the STUN server did not answer, and no other way to the peer was found"
      : "failed: no packet got through; the NATs at both ends do not allow a direct way";
  }
}
