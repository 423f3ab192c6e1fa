/** A data channel as a connection: pieces, back-pressure, a heartbeat, and the close both ways. */

import { EMPTY } from "../../bytes.js";
import { asError, ProtocolError, RemoteError } from "../../errors.js";
import { type Accept, type Connection, LENGTH_LIMIT, PUNCHED, type Receiver } from "../../plugins/transport.js";
import { Assembly, END, LAST, MORE, PING, PONG, split } from "./protocol/pieces.js";

export const ADDRESS = "webrtc:";
export const HIGH_WATER = 256 * 1024; // bytes in the channel above which the sender is paused,
export const LOW_WATER = 64 * 1024; // and at which it goes on
const BEAT = 1250; // milliseconds of silence after which the other end is asked whether it is there
const SILENCES = 3; // so many of them end the connection: the path is dead

/** The data channel, and all that is under it. */
export interface Channel {
  /** Bytes that wait in it. */
  readonly buffered: number;
  /** The longest message the other end takes, up to PIECE. */
  readonly piece: number;
  /** Never blocks; does nothing once the channel is closed. */
  send(data: Uint8Array): void;
  /** At once, with all that is under it. */
  close(): void;
}

/** Both ends of an open channel are this. */
export class WebRTCConnection implements Connection {
  readonly address = ADDRESS;
  readonly maxFrame = LENGTH_LIMIT;
  readonly cost = PUNCHED;
  readonly relayed = false;
  private readonly assembly = new Assembly();
  private readonly receiver: Receiver;
  private closing = false;
  private over = false;
  private paused = false;
  private heard = true;
  private silences = 0;
  private waited = 0;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(
    private readonly channel: Channel,
    accept: Accept,
  ) {
    this.timer = setInterval(() => this.beat(), BEAT);
    this.receiver = accept(this);
  }

  // What its owner calls.

  write(frame: Uint8Array): void {
    if (this.closing || this.over) return;
    for (const piece of split(frame, this.channel.piece)) this.channel.send(piece);
    if (!this.paused && this.channel.buffered > HIGH_WATER) {
      this.paused = true;
      this.receiver.pauseWriting();
    }
  }

  /** The other end closes the channel once it has everything; should it not, the heartbeat does. */
  close(): void {
    if (this.closing || this.over) return;
    this.closing = true;
    this.channel.send(Uint8Array.of(END));
  }

  abort(): void {
    this.end(undefined);
  }

  // What the channel calls.

  /** One message of the channel. */
  received(data: unknown): void {
    this.heard = true;
    if (this.over) return;
    try {
      this.take(data);
    } catch (error) {
      this.end(asError(error));
    }
  }

  /** LOW_WATER is reached. */
  drained(): void {
    if (!this.paused || this.over) return;
    this.paused = false;
    this.receiver.resumeWriting();
  }

  /** The channel is closed, by the other end or by what is under it. */
  ended(): void {
    this.end(this.closing ? undefined : new RemoteError(`${ADDRESS} the channel was closed`));
  }

  // Inside.

  private take(data: unknown): void {
    const piece = data instanceof ArrayBuffer ? new Uint8Array(data) : EMPTY;
    const kind = piece[0];
    if (kind === LAST || kind === MORE) {
      const frame = this.assembly.add(piece);
      if (frame && !this.closing) this.receiver.frameReceived(frame);
    } else if (kind === END) {
      this.end(undefined);
    } else if (kind === PING && piece.length === 1) {
      if (!this.paused) this.channel.send(Uint8Array.of(PONG)); // one that asks and never reads would fill the memory
    } else if (kind !== PONG || piece.length !== 1) {
      throw new ProtocolError("bad-piece", `of kind ${kind}, ${piece.length} bytes`);
    }
  }

  /** The one timer. What leaves the channel shows life just as what comes: somebody acknowledges it. */
  private beat(): void {
    const { buffered } = this.channel;
    const left = buffered < this.waited;
    this.waited = buffered;
    if (this.heard || left) {
      this.heard = false;
      this.silences = 0;
    } else if (++this.silences >= SILENCES) {
      this.end(new RemoteError(`${ADDRESS} dead: nothing comes through any more`));
    } else if (this.silences === 1) {
      this.channel.send(Uint8Array.of(PING));
    }
  }

  private end(error: Error | undefined): void {
    if (this.over) return;
    this.over = true;
    clearInterval(this.timer);
    this.channel.close();
    this.assembly.clear();
    queueMicrotask(() => this.receiver.connectionLost(error));
  }
}
