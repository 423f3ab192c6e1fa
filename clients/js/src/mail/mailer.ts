/**
 * Mail of one node, both ways: what waits for a peer that is away is left, sealed, at its relays, and what was left for us
 * is taken in (docs/protocol/mail.rst). A message stays in the outbox until its recipient has acknowledged it, whatever
 * relays say.
 */

import { decodeMail, type Frame } from "../delivery/wire.js";
import type { Directory } from "../directory/directory.js";
import type { Outbox } from "../durable/outbox.js";
import { asError, ProtocolError } from "../errors.js";
import type { Identity, SignId } from "../identity/keys.js";
import type { NodeInfo } from "../identity/nodeinfo.js";
import type { Exchange } from "../peers/exchange.js";
import type { Peers } from "../peers/registry.js";
import { MAX_CONTENT, open } from "../session/envelope.js";
import { MailedAcks } from "./acknowledgements.js";
import { type Depositor, LONGEST_WAIT } from "./depositing.js";

const LETTER_BYTES = MAX_CONTENT - 64 * 1024; // bytes of messages in one envelope
const RESEND_AFTER = 30_000; // milliseconds between "delivered" and the recipient's own acknowledgement
const FAILED_SPEEDUP = 30; // times sooner is mailed again what the relay says it could not deliver

/** `ready` resolves once mail of a peer may be taken in: what is left with its sender comes again over links only. */
export class Mailer {
  private readonly mailing = new Set<SignId>();
  private readonly resending = new Map<SignId, ReturnType<typeof setTimeout>>();
  private readonly mailedAcks: MailedAcks;
  private closed = false;

  constructor(
    private readonly identity: Identity,
    private readonly directory: Directory,
    private readonly outbox: Outbox,
    private readonly peers: Peers,
    private readonly depositor: Depositor,
    private readonly ready: (peer: SignId) => Promise<void>,
    private readonly failed: (error: Error) => void,
  ) {
    this.mailedAcks = new MailedAcks(peers, depositor);
  }

  close(): void {
    this.closed = true;
    for (const timer of this.resending.values()) clearTimeout(timer);
  }

  /** An envelope for us. `done` is called once it is `handled` and saved, or cannot be opened. */
  received(envelope: Uint8Array, done: (handled: boolean) => void): void {
    try {
      const { sender, content, current } = open(envelope, this.identity, [], Date.now() / 1000);
      const frame = frameOf(content);
      if (sender.signId === this.identity.signId) throw new ProtocolError("own-key");
      if (current) this.directory.learn(sender);
      this.takeIn(sender, frame, done).catch((error: unknown) => this.closed || this.failed(asError(error)));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      done(false);
    }
  }

  /** What became of an envelope we left; what the peer itself has not acknowledged some time later is mailed again. */
  finished(peer: SignId, state: string): void {
    if (state === "refused") this.depositor.mailKeyRefused(peer);
    if (this.resending.has(peer) || this.closed) return;
    this.resending.set(
      peer,
      setTimeout(
        () => {
          this.resending.delete(peer);
          this.outbox.forgetMailed(peer);
          if (!this.outbox.isEmpty(peer)) this.unreachable(peer);
        },
        state === "delivered" ? RESEND_AFTER : RESEND_AFTER / FAILED_SPEEDUP,
      ),
    );
  }

  /** The peer could not be reached: what waits for it goes by mail. */
  unreachable(peer: SignId): void {
    if (!this.mailing.has(peer) && !this.closed && this.depositor.reaches(peer)) void this.mail(peer);
  }

  private async mail(peer: SignId): Promise<void> {
    this.mailing.add(peer);
    try {
      while (!this.closed && !this.exchange(peer).link) {
        const { batches, mailed } = this.outbox.sender(peer).letter(LETTER_BYTES);
        if (!batches.length) break;
        const expires = Math.max(...batches.flatMap(({ records }) => records.map((record) => record.expires)));
        await this.depositor.leave(
          peer,
          this.exchange(peer).mailedAcks(),
          batches,
          Math.min(expires, Date.now() + LONGEST_WAIT),
        );
        mailed();
        this.outbox.noteMailed(peer);
      }
    } catch {
      // The next attempt to reach the peer tries again.
    } finally {
      this.mailing.delete(peer);
    }
  }

  /** An acknowledgement that could not be left at a relay is none: the envelope comes again. */
  private async takeIn(sender: NodeInfo, frame: Frame, done: (handled: boolean) => void): Promise<void> {
    await this.ready(sender.signId);
    const exchange = this.exchange(sender.signId);
    await exchange.mailReceived(frame);
    if (this.closed) return;
    if (frame.batches.length && !exchange.link) await this.mailedAcks.leave(sender.signId);
    done(true);
  }

  private exchange(peer: SignId): Exchange {
    return this.peers.get(peer).exchange;
  }
}

/** Mail holds acknowledgements and batches only. */
function frameOf(content: Uint8Array): Frame {
  const packet = decodeMail(content);
  if (packet.type !== "frame" || packet.events.length || packet.requests.length || packet.replies.length) {
    throw new ProtocolError("bad-packet", "not what belongs into mail");
  }
  return packet;
}
