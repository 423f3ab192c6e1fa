/** How one subscription handles its messages, and how large they may be. */

import { MAX_VALUES } from "../codec.js";
import { MAX_PAYLOAD } from "../message.js";
import type { Parse } from "./parsing.js";

export const PUBLIC_SIZE = 1024 * 1024; // bytes of a stranger's payload, where a subscription does not say otherwise
export const PUBLIC_VALUES = 64 * 1024; // values of which it may consist

export interface SubscriptionOptions {
  /** How often a handler that threw gets a durable message again; 3 times unless told. */
  retries?: number;
  /** Seconds before the first repetition, doubled for each one that follows; 1 unless told. */
  backoff?: number;
  /** Whether later messages wait for one that is repeated; they pass it unless told. */
  ordered?: boolean;
  /** Bytes of a payload at most; larger ones are refused. 1 MiB of strangers, 64 MiB of others unless told. */
  maxSize?: number;
  /**
   * Values of which it may consist, keys and what is inside others included; more are refused. 65,536 of strangers,
   * 1,048,576 of others unless told. Of several subscriptions to one name the most generous counts.
   */
  maxValues?: number;
  /** The handler is given the bytes of the payload, which nobody has looked at. */
  raw?: boolean;
}

/** Has payloads of a type made of plain values, for a handler or a caller. */
export interface Parsing<T> {
  /** As in `{ parse: schema.parse }` of zod. */
  parse: Parse<T>;
}

/** Throws RangeError for a bound that is none. */
export function checkOptions({ maxSize = 1, maxValues = 1 }: SubscriptionOptions): void {
  for (const bound of [maxSize, maxValues]) {
    if (!Number.isInteger(bound) || bound < 1 || bound > MAX_PAYLOAD)
      throw new RangeError(`maxSize and maxValues are 1 to ${MAX_PAYLOAD}, not ${bound}`);
  }
}

export function sizeFrom(scope: string, { maxSize }: SubscriptionOptions): number {
  return maxSize ?? (scope === "public" ? PUBLIC_SIZE : MAX_PAYLOAD);
}

export function valuesFrom(scope: string, { maxValues }: SubscriptionOptions): number {
  return maxValues ?? (scope === "public" ? PUBLIC_VALUES : MAX_VALUES);
}
