/** One connection and the session on it: handshake, keep-alive, parts of frames that are too large, and the close. */

import { Assembler, type Budget } from "../delivery/fragments.js";
import { halves } from "../delivery/halving.js";
import { decodeJoined, decodePacket, encodePacket, type Frame, MAX_MIXED, type Packet } from "../delivery/wire.js";
import { asError, ProtocolError, RemoteError } from "../errors.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import type { Connection, Receiver } from "../plugins/transport.js";
import { MAC } from "../session/box.js";
import { Initiator, type Responder } from "../session/handshake.js";
import type { Session } from "../session/session.js";
import { RoundTrips } from "./roundtrips.js";

const HANDSHAKE_TIMEOUT = 10_000; // milliseconds
const KEEPALIVE = 3500; // milliseconds of silence after which the peer is asked whether it is there
const SILENCES = 3; // spans of KEEPALIVE without a word from the peer that end the link
const LINGER = 5000; // milliseconds that a closed connection may take to send what is queued

/** Whose link it is: the callbacks of a link that is up. */
export interface LinkOwner {
  /** The bytes that a frame may have which comes in parts. */
  largestFrame(): number;
  frameReceived(link: Link, frame: Frame): void;
  /** Some of this stream was left with us: the peer wants what is not settled again. */
  againReceived(lane: number, epoch: number): void;
  linkWritable(link: Link): void;
  linkLost(link: Link, error: Error): void;
}

/** Whose link it is until both ends have proven who they are; `linkReady` gives it its owner. */
export interface HandshakeOwner {
  /** Somebody who dialled us proved who it is: our resume state for it; throws ProtocolError to refuse. */
  linkIdentified(peer: NodeInfo): Uint8Array;
  linkReady(link: Link, peer: NodeInfo, resume: Uint8Array): void;
  /** It ended before anybody proved anything. */
  handshakeFailed(link: Link, error: Error): void;
}

/** `error` says why it ended, once it has. `dialled` is true on the side that opened it. */
export class Link implements Receiver {
  readonly dialled: boolean;
  /** Whose it is, once it is ready. */
  owner: LinkOwner | undefined;
  /** Which run of the peer's node is at the other end; its owner sets it. */
  epoch = 0;
  paused = false;
  error: Error | undefined;
  /** Where it was dialled; "" on the other side. */
  dialledAt = "";
  /** Since when something that wants an answer is out, and nothing has come in; 0 when nothing is. */
  owesSince = 0;
  framesIn = 0;
  readonly trips = new RoundTrips();
  /** Until then it is not gone back to for being better alone. */
  heldUntil = 0;
  readonly opened = performance.now();
  private machine: Initiator | Responder | undefined;
  private session: Session | undefined;
  private readonly assembler: Assembler;
  private readonly room: number;
  private heard = true;
  private silences = 0;
  private pings = new Map<number, { sent: number; moved: number; answered: (rtt: number) => void }>();
  private pingNumber = 0;
  private moved = 0; // bytes, both ways
  private timer: ReturnType<typeof setTimeout>;

  constructor(
    readonly connection: Connection,
    machine: Initiator | Responder,
    private readonly maker: HandshakeOwner,
    budget: Budget,
  ) {
    this.machine = machine;
    this.dialled = machine instanceof Initiator;
    this.assembler = new Assembler(budget, () => this.owner?.largestFrame() ?? 0);
    this.room = connection.maxFrame - MAC;
    this.timer = setTimeout(() => this.end(new RemoteError("the handshake took too long"), true), HANDSHAKE_TIMEOUT);
    if (machine instanceof Initiator) connection.write(machine.hello());
  }

  get cost(): number {
    return this.connection.cost;
  }

  /** Of two links of one kind to a peer one is enough; each relay is a kind of its own. */
  get kind(): string {
    return this.relayed ? `${this.cost} ${this.connection.address}` : String(this.cost);
  }

  /** Whether frames go through a third party. */
  get relayed(): boolean {
    return this.connection.relayed;
  }

  /** Whether the session is established and the connection is there. */
  get ready(): boolean {
    return this.session !== undefined && this.error === undefined;
  }

  /** What one message may take of a frame, in bytes; larger durable ones travel in pieces. */
  get largest(): number {
    return this.room >> 1;
  }

  /** Seal and write one packet, in parts when it is larger than a frame. */
  send(packet: Packet): void {
    if (!this.session || this.error) return;
    const data = encodePacket(packet);
    const parts = data.length > MAX_MIXED && packet.type === "frame" ? halves(packet) : [];
    if (parts.length) {
      for (const part of parts) this.send(part);
      return;
    }
    this.moved += data.length;
    if (data.length <= this.room) {
      this.connection.write(this.session.seal(data));
      return;
    }
    const step = this.room - 64;
    for (let offset = 0; offset < data.length; offset += step) {
      const part = encodePacket({
        type: "part",
        offset,
        total: data.length,
        data: data.subarray(offset, offset + step),
      });
      this.connection.write(this.session.seal(part));
    }
  }

  /** The round trip in milliseconds. */
  ping(): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.ready) this.ask(resolve);
      else reject(new RemoteError("the link ended"));
    });
  }

  /** Tell the peer why, send what is queued and close. */
  close(reason: string): void {
    if (this.error) return;
    this.send({ type: "close", reason });
    this.end(new RemoteError(reason));
  }

  frameReceived(frame: Uint8Array): void {
    this.heard = true;
    this.framesIn++;
    this.moved += frame.length;
    this.owesSince = 0;
    if (this.error) return;
    try {
      if (this.session) this.packet(this.session.open(frame));
      else this.handshake(frame);
    } catch (error) {
      this.violated(asError(error));
    }
  }

  connectionLost(error: Error | undefined): void {
    this.end(error ?? new RemoteError("closed by the peer"));
    clearTimeout(this.timer);
    this.assembler.clear();
    if (this.owner) this.owner.linkLost(this, this.error!);
    else this.maker.handshakeFailed(this, this.error!);
  }

  pauseWriting(): void {
    this.paused = true;
  }

  resumeWriting(): void {
    this.paused = false;
    if (this.ready) this.owner?.linkWritable(this);
  }

  private handshake(frame: Uint8Array): void {
    const machine = this.machine!;
    for (const event of machine.receive(frame, Date.now() / 1000)) {
      if (event.type === "send") {
        this.connection.write(event.frame);
      } else if (event.type === "identified") {
        const [ready, established] = (machine as Responder).accept(this.maker.linkIdentified(event.peer));
        this.connection.write(ready.frame);
        this.established(established.session, established.peer, established.resume);
      } else {
        this.established(event.session, event.peer, event.resume);
      }
    }
  }

  private established(session: Session, peer: NodeInfo, resume: Uint8Array): void {
    this.session = session;
    this.machine = undefined;
    this.again();
    this.maker.linkReady(this, peer, resume);
  }

  private packet(data: Uint8Array): void {
    let packet = decodePacket(data);
    if (packet.type === "part") {
      const whole = this.assembler.add(packet.offset, packet.total, packet.data);
      if (!whole) return;
      packet = decodeJoined(whole);
    }
    switch (packet.type) {
      case "frame":
        this.owner?.frameReceived(this, packet);
        break;
      case "ping": // a peer that asks and never reads would fill the memory with answers
        if (!this.paused) this.send({ type: "pong", id: packet.id });
        break;
      case "pong":
        this.pongReceived(packet.id);
        break;
      case "close":
        this.end(new RemoteError(`closed by the peer: ${packet.reason}`));
        break;
      case "again":
        this.owner?.againReceived(packet.lane, packet.epoch);
        break;
      case "part":
        throw new ProtocolError("bad-packet", "a part inside parts");
    }
  }

  /** The peer learns the reason word when there is a session to say it in; nothing it sent counts any more. */
  private violated(error: Error): void {
    if (this.error) return;
    const reason = error instanceof ProtocolError ? error.reason : "internal";
    if (this.session && !this.session.dead) this.send({ type: "close", reason });
    this.end(error);
  }

  /** Close the connection; one whose other end does not take what is queued is cut. */
  private end(error: Error, atOnce: boolean = false): void {
    if (this.error) return;
    this.error = error;
    clearTimeout(this.timer);
    this.session?.close();
    if (atOnce) {
      this.connection.abort();
    } else {
      this.timer = setTimeout(() => this.connection.abort(), LINGER);
      this.connection.close();
    }
  }

  private again(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tick(), KEEPALIVE);
  }

  /** The one timer of a link: silence is answered by a question, then by the end. */
  private tick(): void {
    if (this.heard) {
      this.heard = false;
      this.silences = 0;
    } else if (++this.silences >= SILENCES) {
      this.end(new RemoteError("the peer fell silent"), true);
      return;
    } else {
      this.ask(() => {});
    }
    this.again();
  }

  private pongReceived(number: number): void {
    const ping = this.pings.get(number);
    if (!ping) return;
    this.pings.delete(number);
    const trip = performance.now() - ping.sent;
    this.trips.add(trip, this.moved - ping.moved);
    ping.answered(trip);
  }

  private ask(answered: (rtt: number) => void): void {
    this.pings.set(++this.pingNumber, { sent: performance.now(), moved: this.moved, answered });
    this.send({ type: "ping", id: this.pingNumber });
  }
}
