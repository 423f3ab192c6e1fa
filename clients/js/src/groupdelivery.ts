/** What applications see of a message to several: the deliveries to each, and one end for all. */

import { DeliveryError, NotAllDelivered } from "./errors.js";
import { Delivery, type Outcome } from "./message.js";

const WORST_FIRST = ["failed", "refused", "expired", "cancelled", "dropped", "sent", "delivered"] as const;
const TOLD = 10; // peers whose failures the text of the error says

/**
 * One accepted message to several peers; `deliveries` has that to each, by signId. `peer` is the list or circle, or how
 * many there are. It has no id: each of its deliveries is found by its own after a reload.
 */
export class GroupDelivery extends Delivery {
  constructor(
    group: string,
    readonly deliveries: ReadonlyMap<string, Delivery>,
  ) {
    super(group);
  }

  /** Empty: each of the deliveries has an id of its own. */
  override get id(): string {
    return "";
  }

  /** The worst end that the message had at a peer, undefined while it has not ended at all of them. */
  override get outcome(): Outcome | undefined {
    const ends = this.all.map(({ outcome }) => outcome);
    if (ends.includes(undefined)) return undefined;
    return WORST_FIRST.flatMap((state) => ends.find((end) => end?.state === state) ?? [])[0];
  }

  /** How far the message is at the peer where it is least far; the worst end once it has ended at all. */
  override get state(): string {
    const waits = this.all.some(({ state }) => state === "waiting");
    return this.outcome?.state ?? (waits ? "waiting" : "received");
  }

  /** The worst outcome, once it has ended at all. Throws NotAllDelivered at the end when some have not got it. */
  override async done(): Promise<Outcome> {
    await this.each((delivery) => delivery.done());
    return this.outcome!;
  }

  /** Resolves once it is on the disks of all peers, or handled there; throws as `done` does. */
  override async received(): Promise<void> {
    await this.each((delivery) => delivery.received());
  }

  /** Take it back from those to whom it has not gone out yet; their signIds. Throws StorageError. */
  override async cancel(): Promise<string[]> {
    return (await Promise.all(this.all.map((delivery) => delivery.cancel()))).flat();
  }

  private get all(): Delivery[] {
    return [...this.deliveries.values()];
  }

  private async each(wait: (delivery: Delivery) => Promise<unknown>): Promise<void> {
    const failed = new Map<string, DeliveryError>();
    const ended = this.all.map((delivery) =>
      wait(delivery).catch((error: unknown) => {
        if (!(error instanceof DeliveryError)) throw error;
        failed.set(delivery.peer, error);
      }),
    );
    await Promise.all(ended);
    if (!failed.size) return;
    const delivered = [...this.deliveries.keys()].filter((peer) => !failed.has(peer));
    throw new NotAllDelivered(this.told(failed), failed, delivered);
  }

  private told(failed: ReadonlyMap<string, Error>): string {
    const told = Array.from(failed.values(), ({ message }) => message);
    const more = told.length > TOLD ? [`and ${told.length - TOLD} more`] : [];
    const all = [...told.slice(0, TOLD), ...more].join("; ");
    return `${this.peer}: ${told.length} of ${this.deliveries.size} did not get it: ${all}`;
  }
}
