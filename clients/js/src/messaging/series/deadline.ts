/** How long a reader waits for its next reply. */

import { RequestTimeout } from "../../errors.js";

export interface Deadline {
  /** Rejects with RequestTimeout. */
  passed: Promise<never>;
  cancel(): void;
}

/** `timeout` is in milliseconds. */
export function deadline(timeout: number): Deadline {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new RequestTimeout(`no further reply within ${timeout / 1000} seconds`)), timeout);
  });
  passed.catch(() => {}); // whoever waits for it hears of it
  return { passed, cancel: () => clearTimeout(timer) };
}
