/** The home of RTCPeerConnection: one peer connection with one data channel. */

import { Unreachable } from "../../errors.js";
import { ADDRESS, type Channel, LOW_WATER } from "./connection.js";
import { PIECE } from "./protocol/pieces.js";
import { type Candidate, candidateLine, type Description, describe, parse, parseCandidate } from "./protocol/sdp.js";

const GATHERING = 1500; // milliseconds, hard; what is there by then is offered, the rest follows
const CHANNEL = 0; // the number of the one channel, which both ends know

/** Makes peer connections; the browser's `RTCPeerConnection` is one. */
export type MakePair = (configuration: RTCConfiguration) => RTCPeerConnection;

/** What a channel calls. */
export interface Sink {
  received(data: unknown): void;
  drained(): void;
  ended(): void;
}

/** What becomes of a pair. */
export interface PairOwner {
  /** The channel is open: its sink. */
  opened(): Sink;
  /** It never will be. */
  failed(): void;
  /** A candidate that was found late, or "" when there will be no more. */
  found(line: string): void;
}

export class Pair implements Channel {
  piece = PIECE;
  local: Description | undefined;
  private sink: Sink | undefined;
  private over = false;
  private readonly pc: RTCPeerConnection;
  private readonly channel: RTCDataChannel;

  constructor(
    make: MakePair,
    iceServers: RTCIceServer[],
    private readonly owner: PairOwner,
  ) {
    this.pc = make({ iceServers });
    // The same number at both ends: no message is needed to open it, and no other channel is welcome.
    this.channel = this.pc.createDataChannel("mm", { negotiated: true, id: CHANNEL });
    this.channel.binaryType = "arraybuffer";
    this.channel.bufferedAmountLowThreshold = LOW_WATER;
    this.listen();
  }

  /** Our offer, with all candidates that were found in time. */
  offer(): Promise<Description> {
    return this.describe();
  }

  /** Our answer. Throws Unreachable for what the browser refuses. */
  async answer(offer: Description): Promise<Description> {
    await this.take(offer, "offer");
    return this.describe();
  }

  /** The peer's answer; connecting begins. Throws Unreachable for what the browser refuses. */
  answered(answer: Description): Promise<void> {
    return this.take(answer, "answer");
  }

  /** A candidate that the peer found later; undefined: that was all. */
  async add(candidate: Candidate | undefined): Promise<void> {
    if (this.over) return;
    const line = candidate ? candidateLine(candidate) : "";
    await this.pc.addIceCandidate({ candidate: line, sdpMLineIndex: 0 }).catch(() => {}); // it came after the last one
  }

  /** Why nothing is said though packets get through: a word of docs/protocol/webrtc.rst, "" when that is not so. */
  get insecure(): "" | "dtls-failed" | "dtls-stuck" {
    const dtls = this.pc.sctp?.transport;
    if (!dtls || dtls.state === "connected") return "";
    if (dtls.state === "failed") return "dtls-failed";
    return ["connected", "completed"].includes(dtls.iceTransport.state) ? "dtls-stuck" : "";
  }

  get buffered(): number {
    return this.channel.bufferedAmount;
  }

  send(data: Uint8Array): void {
    if (this.channel.readyState !== "open") return;
    try {
      this.channel.send(data as Uint8Array<ArrayBuffer>);
    } catch {
      this.close(); // its buffer is full, or it is closing: what is not said is not acknowledged
      queueMicrotask(() => this.closed());
    }
  }

  close(): void {
    this.over = true;
    this.pc.close();
  }

  // Inside.

  private async describe(): Promise<Description> {
    const gathered = this.gathered();
    await this.pc.setLocalDescription();
    await gathered;
    const complete = this.pc.iceGatheringState === "complete";
    this.local = { ...parse(this.pc.localDescription?.sdp ?? ""), complete };
    if (!complete) this.pc.onicecandidate = ({ candidate }) => this.late(candidate?.candidate ?? "");
    return this.local;
  }

  private gathered(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHERING);
      this.pc.onicegatheringstatechange = () => {
        if (this.pc.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private late(line: string): void {
    const candidate = line ? parseCandidate(line) : undefined;
    if (!line || candidate) this.owner.found(candidate ? candidateLine(candidate) : "");
  }

  private async take(description: Description, type: "offer" | "answer"): Promise<void> {
    this.piece = Math.min(PIECE, description.maxMessage || PIECE);
    try {
      await this.pc.setRemoteDescription({ type, sdp: describe(description) });
    } catch (error) {
      throw new Unreachable(`${ADDRESS} bad-answer: ${(error as Error).message}`);
    }
  }

  private listen(): void {
    this.channel.onopen = () => {
      if (!this.over) this.sink = this.owner.opened();
    };
    this.channel.onmessage = ({ data }: MessageEvent) => this.sink?.received(data);
    this.channel.onbufferedamountlow = () => this.sink?.drained();
    this.channel.onclose = () => this.closed();
    this.pc.ondatachannel = () => this.closed();
    this.pc.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(this.pc.connectionState)) this.closed();
    };
  }

  private closed(): void {
    if (this.sink) this.sink.ended();
    else if (!this.over) this.owner.failed();
  }
}
