/** Receipts of peers: how messages ended that they had kept. And ours to them. */

import { decodeReceipt, type EndOfOne, encodeReceipts, RECEIPT } from "../delivery/receipts.js";
import type { Outbox } from "../durable/outbox.js";
import { asError, CodecError, Refused } from "../errors.js";
import type { Scope } from "../identity/circles.js";
import type { SignId } from "../identity/keys.js";
import { PRIORITIES } from "../message.js";
import { InternalHandler } from "../messaging/internal.js";
import { DONE, NOBODY, type Result } from "../messaging/subscriber.js";
import type { Row } from "../storage/contract.js";

const LANE = PRIORITIES.indexOf("control");
const EXPIRY = 7 * 24 * 3_600_000; // milliseconds

export class Receipts extends InternalHandler {
  constructor(
    private readonly outbox: Outbox,
    private readonly failed: (error: Error) => void,
  ) {
    super();
  }

  /** Tell `peer` how messages ended, and save `rows` with that; what cannot be saved is told after the next start. */
  send(peer: string, ends: EndOfOne[], rows: Row[]): void {
    const payloads = encodeReceipts(ends);
    payloads.forEach((payload, index) => {
      const last = index === payloads.length - 1;
      this.outbox
        .put(peer, LANE, RECEIPT, RECEIPT, payload, Date.now() + EXPIRY, last ? rows : [])
        .catch((error: unknown) => this.failed(asError(error)));
    });
  }

  override onMessage(
    _scope: Scope,
    topic: string,
    sender: SignId,
    payload: Uint8Array,
    finished: (result: Result) => void,
  ): void {
    if (topic !== RECEIPT) {
      finished(NOBODY);
      return;
    }
    try {
      for (const entry of decodeReceipt(payload)) this.outbox.told(sender, entry);
      finished(DONE);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      finished({ error: new Refused("bad-payload") });
    }
  }
}
