/** Payloads of the shape that a program wants: a function of its own makes them of plain values, or throws. */

import { asError, Refused, RequestFailed } from "../errors.js";

const LONGEST_REASON = 200; // characters

/** Makes what a handler or a caller wants of a plain value, and throws when it cannot: `schema.parse` of zod, or your own. */
export type Parse<T> = (value: unknown) => T;

/** A payload does not fit the handler it came for. */
export class Unfit extends Refused {
  override name: string = "Unfit";
}

/**
 * `payload` as `parse` makes it; its `name` is `scope.topic`. Throws Unfit, whose text says why to all but strangers: it may quote what `parse` knows. A
 * Refused of `parse` is passed on, as its text is for the sender.
 */
export function fitted<T>(parse: Parse<T>, payload: unknown, name: string): T {
  try {
    return parse(payload);
  } catch (thrown) {
    if (thrown instanceof Refused) throw thrown;
    throw new Unfit(name.startsWith("public.") ? "bad-payload" : `bad-payload: ${reasonOf(thrown)}`);
  }
}

/** A reply as `parse` makes it. Throws RequestFailed. */
export function fittedReply<T>(parse: Parse<T>, reply: unknown): T {
  try {
    return parse(reply);
  } catch (thrown) {
    throw new RequestFailed(`the reply does not fit: ${reasonOf(thrown)}`);
  }
}

/** The first issue, where an error has issues as Standard Schema says (zod, valibot and others); else its text. */
function reasonOf(thrown: unknown): string {
  const { issues } = Object(thrown) as { issues?: unknown };
  const [first] = Array.isArray(issues) ? (issues as unknown[]) : [];
  const { message, path } = Object(first) as { message?: unknown; path?: unknown };
  const text = typeof message === "string" ? `${placeOf(path)}: ${message}` : asError(thrown).message;
  return [...text].slice(0, LONGEST_REASON).join("");
}

/** `payload.tags[1]` */
function placeOf(path: unknown): string {
  const steps = Array.isArray(path) ? (path as unknown[]) : [];
  const keys = steps.map((step) => (Object(step) as { key?: unknown }).key ?? step);
  return `payload${keys.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("")}`;
}
