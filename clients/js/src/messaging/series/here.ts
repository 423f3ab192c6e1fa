/** Replies as they come of a handler of this node. */

import { decode, encode } from "../../codec.js";
import { asError, nameOf, Refused, RequestFailed, RequestTimeout } from "../../errors.js";
import { givesMany } from "../handlers.js";
import { deadline } from "./deadline.js";

/**
 * The replies of a handler that returned `value`, each made once it is asked for. `timeout` is the milliseconds to wait for
 * each; `reader` is aborted once nobody reads on, `failed` told of what the handler threw. Throws RequestFailed and
 * RequestTimeout.
 */
export async function* readHere(
  value: unknown,
  timeout: number,
  reader: AbortController,
  failed: (error: Error) => void,
): AsyncGenerator<unknown, void, void> {
  if (!givesMany(value)) {
    yield isolated(value);
    return;
  }
  const report = (thrown: unknown): Error => {
    const error = asError(thrown);
    if (!(reader.signal.aborted && error.name === "AbortError")) failed(error);
    return error;
  };
  let late = false;
  try {
    for (;;) {
      const step = await stepOf(value, timeout, report);
      if (step.done) return;
      yield isolated(step.value);
    }
  } catch (error) {
    late = error instanceof RequestTimeout;
    throw error;
  } finally {
    reader.abort();
    const closed = value.return(undefined).catch(report);
    if (!late) await closed; // else it is still at the reply that is late
  }
}

/** What a caller is told of a handler of this node that threw. */
export function failedHere(error: Error): RequestFailed {
  return new RequestFailed(error instanceof Refused ? error.message : `${nameOf(error)}: ${error.message}`);
}

async function stepOf(
  generator: AsyncGenerator,
  timeout: number,
  report: (thrown: unknown) => Error,
): Promise<IteratorResult<unknown>> {
  const late = deadline(timeout);
  const step = generator.next().catch((thrown: unknown) => {
    throw failedHere(report(thrown));
  });
  try {
    return await Promise.race([step, late.passed]);
  } finally {
    late.cancel();
  }
}

/** A copy, as if it had travelled: what a handler changes in it, its asker does not see. Throws RequestFailed. */
export function isolated(value: unknown): unknown {
  try {
    return decode(encode(value), Infinity);
  } catch (error) {
    throw failedHere(asError(error));
  }
}
