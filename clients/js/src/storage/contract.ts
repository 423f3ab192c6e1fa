/** What is kept: rows of bytes under text keys. */

/** A value, or null to delete the row. */
export type Row = [key: string, value: Uint8Array | null];

export interface Storage {
  /** The rows whose key begins with `prefix`, in the order of their keys: those behind the key `after`, `limit` at most. */
  read(prefix: string, after?: string, limit?: number): Promise<[string, Uint8Array][]>;
  /** The keys of these rows, without reading their values. */
  keys(prefix: string): Promise<string[]>;
  /**
   * All of these or none; the promise resolves once they are kept. Writes take effect in the order of the calls. `durable`:
   * also through a power cut.
   */
  write(rows: Row[], durable: boolean): Promise<void>;
  /** Have it told when the storage itself is in trouble, as when a browser removed it under a running page. */
  watch?(failed: (error: Error) => void): void;
  /** Let go of it; writes under way are finished. */
  close(): Promise<void>;
}
