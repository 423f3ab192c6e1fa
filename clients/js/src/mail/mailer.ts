/**
 * Mail: what waits for a peer that is away is left, sealed, at its relays, and what was left for us is taken in
 * (docs/protocol/mail.rst). A message stays in the outbox until its recipient has acknowledged it, whatever relays say.
 */

import { EMPTY, random } from "../bytes.js";
import { decodePacket, encodePacket, type Ack, type Batch, type Frame } from "../delivery/wire.js";
import { asError, ProtocolError } from "../errors.js";
import { digest, type Identity, type SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import { MAX_CONTENT, open, seal } from "../session/envelope.js";
import type { Directory } from "../directory/directory.js";
import type { Exchange } from "../peers/exchange.js";
import { dialable, type Dialable, type Mail, type Transport } from "../plugins/transport.js";

const LONGEST = 14 * 24 * 3_600_000; // milliseconds that mail may wait
const ROOM = MAX_CONTENT - 64 * 1024; // bytes of messages in one envelope
const PATIENCE = 30_000; // milliseconds between "delivered" and the recipient's own acknowledgement
const GATHER = 50; // milliseconds that an acknowledgement by mail waits for more
const MARGIN = 60_000; // milliseconds that our clock may be ahead of a relay's

/** What mail needs of the node. */
export interface MailNode {
  readonly identity: Identity;
  readonly directory: Directory;
  readonly transports: readonly Transport[];
  exchange(peer: SignId): Exchange;
  waits(peer: SignId): boolean;
  letter(peer: SignId, room: number): { batches: Batch[]; mailed: () => void };
  forgetMailed(peer: SignId): void;
  record(): Uint8Array;
  failed(error: Error): void;
}

export class Mailer {
  private readonly busy = new Set<SignId>();
  private readonly refused = new Set<SignId>(); // to whom mail to the mail key we know was refused
  private readonly timers = new Map<SignId, ReturnType<typeof setTimeout>>();
  private readonly acknowledging = new Map<SignId, Promise<void>>();
  private closed = false;

  constructor(private readonly node: MailNode) {}

  close(): void {
    this.closed = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
  }

  // What comes.

  /** `taken` is called once it was handled and saved, or cannot be opened. */
  came(envelope: Uint8Array, taken: (good: boolean) => void): void {
    try {
      const { sender, content, current } = open(envelope, this.node.identity, [], Date.now() / 1000);
      const frame = frameOf(content);
      if (sender.signId === this.node.identity.signId) throw new ProtocolError("own-key");
      if (current) this.node.directory.learn(sender);
      this.takeIn(sender, frame, taken).catch((error: unknown) => this.closed || this.node.failed(asError(error)));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      taken(false);
    }
  }

  /** An acknowledgement that could not be left at a relay is none: the envelope comes again. */
  private async takeIn(sender: NodeInfo, frame: Frame, taken: (good: boolean) => void): Promise<void> {
    const exchange = this.node.exchange(sender.signId);
    await exchange.mailReceived(frame);
    if (this.closed) return;
    if (frame.batches.length && !exchange.link) await this.acknowledge(sender.signId);
    taken(true);
  }

  /** One acknowledgement for all that is taken in meanwhile. */
  private acknowledge(peer: SignId): Promise<void> {
    const known = this.acknowledging.get(peer);
    if (known) return known;
    const left = new Promise((resolve) => setTimeout(resolve, GATHER)).then(() => {
      this.acknowledging.delete(peer);
      return this.leave(peer, this.node.exchange(peer).mailedAcks(), [], Date.now() + LONGEST);
    });
    this.acknowledging.set(peer, left);
    return left;
  }

  // What goes.

  /** The peer could not be reached: what waits for it goes by mail. */
  async away(peer: SignId): Promise<void> {
    if (this.busy.has(peer) || this.closed || !this.relaysOf(peer).length) return;
    this.busy.add(peer);
    try {
      while (!this.closed && !this.node.exchange(peer).link) {
        const { batches, mailed } = this.node.letter(peer, ROOM);
        if (!batches.length) break;
        const expires = Math.max(...batches.flatMap(({ records }) => records.map((record) => record.expires)));
        await this.leave(peer, this.node.exchange(peer).mailedAcks(), batches, Math.min(expires, Date.now() + LONGEST));
        mailed();
      }
    } catch {
      // The next attempt to reach the peer tries again.
    } finally {
      this.busy.delete(peer);
    }
  }

  /** What became of an envelope we left; what the peer itself has not acknowledged some time later is mailed again. */
  ended(peer: SignId, state: string): void {
    if (state === "refused") this.refused.add(peer);
    if (this.timers.has(peer) || this.closed) return;
    this.timers.set(peer, setTimeout(() => {
      this.timers.delete(peer);
      this.node.forgetMailed(peer);
      if (this.node.waits(peer)) void this.away(peer);
    }, state === "delivered" ? PATIENCE : PATIENCE / 30));
  }

  /** At one of the relays of the peer. Throws what the last one said. */
  private async leave(peer: SignId, acks: Ack[], batches: Batch[], expires: number): Promise<void> {
    const now = Date.now();
    const frame: Frame = { type: "frame", now, floor: 0, acks, batches, events: [], requests: [], replies: [] };
    const mailKey = this.refused.has(peer) ? EMPTY : (this.node.directory.find(peer)?.mailKey ?? EMPTY);
    const envelope = seal(this.node.identity, this.node.record(), peer, mailKey, encodePacket(frame), random);
    const mail = { id: this.idOf({ ...frame, now: 0 }), expires: expires - MARGIN, envelope };
    await this.deposit(peer, mail);
  }

  private async deposit(peer: SignId, mail: Mail): Promise<void> {
    let reason: unknown;
    for (const { address, transport } of this.relaysOf(peer)) {
      try {
        await transport.deposit!(address, peer, mail);
        return;
      } catch (error) {
        reason = error;
      }
    }
    if (reason) throw reason;
  }

  private relaysOf(peer: SignId): Dialable[] {
    const addresses = this.node.directory.find(peer)?.addresses ?? [];
    return dialable(addresses, this.node.transports.filter(({ deposit }) => deposit));
  }

  /** The same for the same content, and a secret of ours: nobody can tell the content by it. */
  private idOf(frame: Frame): Uint8Array {
    return digest("mm/1 mail id", this.node.identity.boxSecret, encodePacket(frame)).slice(0, 16);
  }
}

/** Mail holds acknowledgements and batches only. */
function frameOf(content: Uint8Array): Frame {
  const packet = decodePacket(content);
  if (packet.type !== "frame" || packet.events.length || packet.requests.length || packet.replies.length) {
    throw new ProtocolError("bad-packet", "not what belongs into mail");
  }
  return packet;
}
