/** Rows in memory, for tests, and for nodes that keep nothing. They survive `close`, as a disk would. */

import type { Row, Storage } from "./contract.js";

export class MemoryStorage implements Storage {
  private readonly rows = new Map<string, Uint8Array>();

  async read(prefix: string, after: string = "", limit: number = Infinity): Promise<[string, Uint8Array][]> {
    const found = [...this.rows].filter(([key]) => key.startsWith(prefix) && key > after);
    return found.sort(([first], [second]) => (first < second ? -1 : 1)).slice(0, limit);
  }

  async keys(prefix: string): Promise<string[]> {
    return (await this.read(prefix)).map(([key]) => key);
  }

  async write(rows: Row[]): Promise<void> {
    for (const [key, value] of rows) {
      if (value) this.rows.set(key, value);
      else this.rows.delete(key);
    }
  }

  async close(): Promise<void> {}
}
