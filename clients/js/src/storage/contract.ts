/** What is kept: rows of bytes under text keys. */

/** A value, or null to delete the row. */
export type Row = [key: string, value: Uint8Array | null];

export interface Storage {
  /** The rows whose key begins with `prefix`, in the order of their keys. */
  read(prefix: string): Promise<[string, Uint8Array][]>;
  /**
   * All of these or none; the promise resolves once they are kept. Writes take effect in the order of the calls. `durable`:
   * also through a power cut.
   */
  write(rows: Row[], durable: boolean): Promise<void>;
  /** Let go of it; writes under way are finished. */
  close(): Promise<void>;
}
