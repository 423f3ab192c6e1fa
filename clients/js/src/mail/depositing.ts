/** Seals an envelope and leaves it at the first relay of its recipient that keeps it. */

import { EMPTY, random } from "../bytes.js";
import { type Ack, type Batch, encodePacket, type Frame } from "../delivery/wire.js";
import type { Directory } from "../directory/directory.js";
import type { OwnRecord } from "../directory/ownrecord.js";
import { MailHeldUp } from "../errors.js";
import { digest, type Identity, type SignId } from "../identity/keys.js";
import { carriesMail, type Mail, type MailCarrier } from "../plugins/mailcarrier.js";
import { type Dialable, dialable, type Transport } from "../plugins/transport.js";
import { seal } from "../session/envelope.js";

export const LONGEST_WAIT = 14 * 24 * 3_600_000; // milliseconds that mail may wait
const CLOCK_MARGIN = 60_000; // milliseconds that our clock may be ahead of a relay's
const AVOID = 60_000; // milliseconds in which a relay that failed is tried after the others

export class Depositor {
  private readonly carriers: (Transport & MailCarrier)[];
  private readonly avoided = new Map<string, number>(); // addresses of relays that failed, and until when
  private readonly refused = new Set<SignId>(); // to whom mail to the mail key we know was refused

  constructor(
    private readonly identity: Identity,
    private readonly ownRecord: OwnRecord,
    private readonly directory: Directory,
    transports: readonly Transport[],
  ) {
    this.carriers = transports.filter(carriesMail);
  }

  /** Whether the peer has a relay that we can leave mail at. */
  reaches(peer: SignId): boolean {
    return this.relaysOf(peer).length > 0;
  }

  /** The peer could not open what was sealed to its mail key: from now on mail is sealed to its boxId. */
  mailKeyRefused(peer: SignId): void {
    this.refused.add(peer);
  }

  /** Leave these at one of the relays of the peer. `expires` is in Unix milliseconds. Throws what the last relay said. */
  async leave(peer: SignId, acks: Ack[], batches: Batch[], expires: number): Promise<void> {
    const frame: Frame = {
      type: "frame",
      now: Date.now(),
      floor: 0,
      acks,
      batches,
      events: [],
      requests: [],
      replies: [],
    };
    const mailKey = this.refused.has(peer) ? EMPTY : (this.directory.find(peer)?.mailKey ?? EMPTY);
    const envelope = seal(this.identity, this.ownRecord.record, peer, mailKey, encodePacket(frame), random);
    await this.deposit(peer, { id: this.idOf({ ...frame, now: 0 }), expires: expires - CLOCK_MARGIN, envelope });
  }

  private async deposit(peer: SignId, mail: Mail): Promise<void> {
    let reason: unknown;
    let heldUp = false;
    for (const { address, transport } of this.relaysOf(peer)) {
      try {
        await transport.deposit(address, peer, { ...mail, id: idAt(mail.id, address) });
        this.avoided.delete(address);
        return;
      } catch (error) {
        reason = error;
        heldUp ||= error instanceof MailHeldUp; // better there than nowhere
        this.avoided.set(address, performance.now() + AVOID);
      }
    }
    if (reason && !heldUp) throw reason;
  }

  private relaysOf(peer: SignId): Dialable<Transport & MailCarrier>[] {
    const now = performance.now();
    for (const [address, until] of this.avoided) if (until <= now) this.avoided.delete(address);
    const failed = ({ address }: { address: string }): number => this.avoided.get(address) ?? 0;
    return dialable(this.directory.find(peer)?.addresses ?? [], this.carriers).sort((a, b) => failed(a) - failed(b));
  }

  /** The same for the same content, and a secret of ours: nobody can tell the content by it. */
  private idOf(frame: Frame): Uint8Array {
    return digest("mm/1 mail id", this.identity.boxSecret, encodePacket(frame)).slice(0, 16);
  }
}

/** The id of an envelope at one relay: copies for several relays may wait at one on the way. */
function idAt(id: Uint8Array, address: string): Uint8Array {
  return digest("mm/1 mail at", id, new TextEncoder().encode(address)).slice(0, 16);
}
