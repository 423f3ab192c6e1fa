/**
 * Rows on their way into the database, kept where a page that goes in the middle leaves them: IndexedDB gives up what it
 * has not committed when a page is reloaded, localStorage is written at once. Small rows only; without it, what was
 * handled in the instant of a reload would be handled again.
 */

import { base64, fromBase64 } from "../bytes.js";
import type { Row } from "./contract.js";

const LARGEST = 2048; // bytes of a row
const DELETED = "-";

export class Journal {
  private readonly prefix: string;

  constructor(
    name: string,
    private readonly kept: globalThis.Storage | undefined = localStorageOfPage(),
  ) {
    this.prefix = `mm ${name} `;
  }

  /** Note the rows; the function forgets them, but for those that were noted anew meanwhile. */
  note(rows: Row[]): () => void {
    const noted = rows
      .filter(([, value]) => (value?.length ?? 0) <= LARGEST)
      .map(([key, value]) => [this.prefix + key, value ? base64(value) : DELETED] as const);
    try {
      for (const [key, value] of noted) this.kept?.setItem(key, value);
    } catch {
      // The browser has no room for it: only the instant of a reload is at stake.
    }
    return () => {
      for (const [key, value] of noted) if (this.kept?.getItem(key) === value) this.kept.removeItem(key);
    };
  }

  /** What was noted and not forgotten. */
  rows(): Row[] {
    return Object.keys(this.kept ?? {})
      .filter((key) => key.startsWith(this.prefix))
      .map((key) => [key.slice(this.prefix.length), fromBase64(this.kept!.getItem(key)!) ?? null]);
  }
}

/** Browsers that keep nothing for a site throw when it is looked at. */
function localStorageOfPage(): globalThis.Storage | undefined {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}
