/** The mail of a node at one relay: what it leaves there for others, and what waits there for it. */

import { hex } from "../../bytes.js";
import { MailDeclined, MailHeldUp, Unreachable } from "../../errors.js";
import { signIdOf } from "../../identity/keys.js";
import type { Mail, MailHost } from "../../plugins/mailcarrier.js";
import type { Item } from "./protocol/items.js";

const ANSWER_TIMEOUT = 30_000; // milliseconds for the relay to have it on its disk

interface PendingDeposit {
  promise: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

export class RelayMailClient {
  private readonly deposits = new Map<string, PendingDeposit>();
  private readonly inHand = new Set<number>(); // what the relay sends again meanwhile is not taken up twice

  constructor(
    private readonly relay: { tell(item: Item): boolean },
    private readonly host: MailHost,
  ) {}

  get idle(): boolean {
    return !this.deposits.size;
  }

  /** Resolves once the relay keeps it, and the one at `via` has it. Throws MailHeldUp when that one cannot be reached. */
  deposit(peer: Uint8Array, { id, expires, envelope }: Mail, via: string): Promise<void> {
    const name = nameOf(peer, id);
    const known = this.deposits.get(name);
    if (known) return known.promise;
    const { promise, resolve, reject } = withResolvers();
    const timer = setTimeout(() => this.settle(name, new Unreachable("no answer to a deposit")), ANSWER_TIMEOUT);
    void promise.catch(() => {}).finally(() => clearTimeout(timer));
    this.deposits.set(name, { promise, resolve, reject });
    if (!this.relay.tell({ type: "deposit", peer, id, expires, envelope, via })) {
      this.settle(name, new Unreachable("the relay is away"));
    }
    return promise;
  }

  /** Take up what the relay said; false when it is not about mail. */
  said(item: Item): boolean {
    switch (item.type) {
      case "stored":
        this.settle(
          nameOf(item.peer, item.id),
          item.heldUp ? new MailHeldUp("kept by our relay, which cannot reach that one now") : undefined,
        );
        return true;
      case "declined":
        this.settle(nameOf(item.peer, item.id), new MailDeclined(item.reason));
        return true;
      case "roomAgain":
        this.host.mailFinished(signIdOf(item.peer), "room");
        return true;
      case "ended":
        this.host.mailFinished(signIdOf(item.peer), item.state);
        this.relay.tell({ type: "noted", number: item.number });
        return true;
      case "mail":
        this.received(item.number, item.envelope);
        return true;
      default:
        return false;
    }
  }

  /** The connection is lost: what was not answered may be deposited again. */
  down(reason: string): void {
    this.inHand.clear();
    for (const name of [...this.deposits.keys()]) this.settle(name, new Unreachable(reason));
  }

  private received(number: number, envelope: Uint8Array): void {
    if (this.inHand.has(number)) return;
    this.inHand.add(number);
    this.host.mailReceived(envelope, (handled) => {
      this.inHand.delete(number);
      this.relay.tell({ type: "taken", numbers: [number], refused: !handled });
    });
  }

  private settle(name: string, error?: Error): void {
    const waiting = this.deposits.get(name);
    this.deposits.delete(name);
    if (error) waiting?.reject(error);
    else waiting?.resolve();
  }
}

function withResolvers(): PendingDeposit {
  let waiting!: Pick<PendingDeposit, "resolve" | "reject">;
  const promise = new Promise<void>((resolve, reject) => (waiting = { resolve, reject }));
  return { promise, ...waiting };
}

function nameOf(peer: Uint8Array, id: Uint8Array): string {
  return `${hex(peer)}/${hex(id)}`;
}
