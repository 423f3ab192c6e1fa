/** What a handler is, and what it may give: a value, a promise, or replies one by one. */

/**
 * `name` is `scope.topic`. An async generator gives replies to `requestMany`, one by one; `signal` is for one that waits for
 * something: it is aborted once nobody reads on, and undefined where no series was asked for.
 */
export type Handler<T = unknown> = (name: string, sender: string, payload: T, signal?: AbortSignal) => unknown;

/** Whether what a handler returned is something to wait for, a promise of another kind than ours included. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as PromiseLike<unknown>).then === "function";
}

/** Whether what a handler returned is an async generator: what it yields are the replies to a request. */
export function givesMany(value: unknown): value is AsyncGenerator {
  if (typeof value !== "object" || value === null || !(Symbol.asyncIterator in value)) return false;
  const { next, return: end } = value as Partial<AsyncGenerator>;
  return typeof next === "function" && typeof end === "function";
}
