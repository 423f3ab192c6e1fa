/** Peer connections without a browser: two that know each other's descriptions are connected. */

import type { MakePair } from "../../src/transports/webrtc/pair.js";
import { describe, parse } from "../../src/transports/webrtc/protocol/sdp.js";

const FINGERPRINT = Array.from({ length: 32 }, () => "AB").join(":");

/** All that were made in one test; `reachable` false: no packet gets through. */
export class FakeNetwork {
  readonly pairs: FakePeerConnection[] = [];
  reachable = true;
  candidates = true;
  /** How far the handshake of DTLS comes, where packets get through. */
  dtls: string | undefined;
  gathers = true;

  readonly make = ((configuration: RTCConfiguration) => {
    const pair = new FakePeerConnection(this, configuration, `ufrag${this.pairs.length}`);
    this.pairs.push(pair);
    return pair;
  }) as unknown as MakePair;

  connect(one: FakePeerConnection): void {
    const other = this.pairs.find((pair) => pair.ufrag === one.remote && pair.remote === one.ufrag);
    if (!other || !this.reachable || one.closed || other.closed) return;
    [one.channel.other, other.channel.other] = [other.channel, one.channel];
    queueMicrotask(() => {
      for (const { channel } of [one, other]) channel.open();
    });
  }
}

export class FakePeerConnection {
  readonly channel = new FakeDataChannel();
  connectionState = "new";
  iceGatheringState = "new";
  localDescription: { sdp: string } | null = null;
  remote = "";
  closed = false;
  readonly added: string[] = [];
  get sctp(): object | null {
    const { dtls } = this.network;
    return dtls ? { transport: { state: dtls, iceTransport: { state: "connected" } } } : null;
  }
  onicecandidate: ((event: { candidate: { candidate: string } | null }) => void) | null = null;
  onicegatheringstatechange: (() => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;
  ondatachannel: (() => void) | null = null;

  constructor(
    private readonly network: FakeNetwork,
    readonly configuration: RTCConfiguration,
    readonly ufrag: string,
  ) {}

  createDataChannel(): FakeDataChannel {
    return this.channel;
  }

  async setLocalDescription(): Promise<void> {
    const candidate = { foundation: "1", priority: 1, host: "10.9.0.1", port: 5000, kind: "host" };
    const sdp = describe({
      ufrag: this.ufrag,
      password: "p".repeat(22),
      fingerprint: FINGERPRINT,
      setup: this.remote ? "active" : "actpass",
      mid: "0",
      port: 5000,
      maxMessage: 65536,
      candidates: this.network.candidates ? [candidate] : [],
      complete: false,
    });
    this.localDescription = { sdp };
    if (!this.network.gathers) return;
    this.iceGatheringState = "complete";
    this.onicegatheringstatechange?.();
    this.network.connect(this);
  }

  async setRemoteDescription({ sdp }: RTCSessionDescriptionInit): Promise<void> {
    this.remote = parse(sdp!).ufrag;
    this.network.connect(this);
  }

  async addIceCandidate({ candidate }: RTCIceCandidateInit): Promise<void> {
    this.added.push(candidate!);
  }

  close(): void {
    this.closed = true;
    this.channel.readyState = "closed";
    const { other } = this.channel;
    this.channel.other = undefined;
    if (other) queueMicrotask(() => other.shut());
  }
}

class FakeDataChannel {
  readyState = "connecting";
  bufferedAmount = 0;
  binaryType = "";
  bufferedAmountLowThreshold = 0;
  other: FakeDataChannel | undefined;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;

  open(): void {
    this.readyState = "open";
    this.onopen?.();
  }

  shut(): void {
    this.readyState = "closed";
    this.onclose?.();
  }

  send(data: Uint8Array): void {
    const { other } = this;
    const copy = data.slice().buffer;
    queueMicrotask(() => other?.onmessage?.({ data: copy }));
  }
}
