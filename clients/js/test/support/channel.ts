/** Both neighbours of a connection over a data channel, as tests see them. */

import { hex } from "../../src/bytes.js";
import type { Receiver } from "../../src/plugins/transport.js";
import type { Channel } from "../../src/transports/webrtc/connection.js";

export class FakeChannel implements Channel {
  buffered = 0;
  piece = 16384;
  closed = false;
  readonly sent: string[] = [];

  send(data: Uint8Array): void {
    this.sent.push(hex(data));
  }

  close(): void {
    this.closed = true;
  }
}

export class End implements Receiver {
  readonly frames: string[] = [];
  readonly calls: string[] = [];
  readonly lost: Promise<Error | undefined>;
  connectionLost!: (error: Error | undefined) => void;

  constructor() {
    this.lost = new Promise((resolve) => (this.connectionLost = resolve));
  }

  frameReceived(frame: Uint8Array): void {
    this.frames.push(hex(frame));
  }

  pauseWriting(): void {
    this.calls.push("pause");
  }

  resumeWriting(): void {
    this.calls.push("resume");
  }
}
