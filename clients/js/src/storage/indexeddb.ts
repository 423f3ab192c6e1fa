/**
 * Rows in the browser's IndexedDB. One tab at a time has a database open, by a lock that dies with its tab: two nodes
 * with one key and one queue would push each other out.
 */

import { LocalError, StorageError } from "../errors.js";
import type { Row, Storage } from "./contract.js";
import { Journal } from "./journal.js";

const STORE = "rows";
const LOCK_TIMEOUT = 5000; // milliseconds that the page before this one may take to go

export class IndexedDBStorage implements Storage {
  private constructor(
    private readonly database: IDBDatabase,
    private readonly journal: Journal,
    private readonly unlock: () => void,
  ) {}

  /** Throws LocalError when another tab has it open. */
  static async open(name: string = "mm-platform"): Promise<IndexedDBStorage> {
    const unlock = await lock(name);
    try {
      const journal = new Journal(name);
      const storage = new IndexedDBStorage(await openDatabase(name), journal, unlock);
      const left = journal.rows();
      if (left.length) await storage.transaction(left, true).then(journal.note(left));
      return storage;
    } catch (error) {
      unlock();
      throw error;
    }
  }

  read(prefix: string, after: string = "", limit?: number): Promise<[string, Uint8Array][]> {
    return new Promise((resolve, reject) => {
      const store = this.database.transaction(STORE).objectStore(STORE);
      const range = rangeOf(prefix, after);
      const keys = store.getAllKeys(range, limit);
      const values = store.getAll(range, limit);
      values.onsuccess = () =>
        resolve(keys.result.map((key, index) => [key as string, values.result[index] as Uint8Array]));
      values.onerror = () => reject(failure(values.error));
    });
  }

  keys(prefix: string): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const keys = this.database.transaction(STORE).objectStore(STORE).getAllKeys(rangeOf(prefix));
      keys.onsuccess = () => resolve(keys.result as string[]);
      keys.onerror = () => reject(failure(keys.error));
    });
  }

  /** What need not be durable is noted in the journal first; it is safe from a reload at once. */
  async write(rows: Row[], durable: boolean): Promise<void> {
    const forget = this.journal.note(durable ? [] : rows);
    await this.transaction(rows, durable);
    forget();
  }

  async close(): Promise<void> {
    this.database.close();
    this.unlock();
  }

  private transaction(rows: Row[], durable: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(STORE, "readwrite", { durability: durable ? "strict" : "relaxed" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(failure(transaction.error));
      const store = transaction.objectStore(STORE);
      for (const [key, value] of rows) {
        if (value)
          store.put(value.slice(), key); // a view would be stored with all of the buffer behind it
        else store.delete(key);
      }
      transaction.commit();
    });
  }
}

function rangeOf(prefix: string, after: string = ""): IDBKeyRange {
  const end = `${prefix}\uffff`;
  return after > prefix ? IDBKeyRange.bound(after, end, true) : IDBKeyRange.bound(prefix, end);
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request.error));
  });
}

/** Gives the function that lets go again. */
async function lock(name: string): Promise<() => void> {
  let unlock = (): void => {};
  const held = new Promise<void>((resolve) => (unlock = resolve));
  await new Promise<void>((resolve, reject) => {
    const options = { signal: AbortSignal.timeout(LOCK_TIMEOUT) };
    const granted = (): Promise<void> => {
      resolve();
      return held;
    };
    navigator.locks.request(`mm ${name}`, options, granted).catch(() => {
      reject(new LocalError(`another tab has ${name} open; close it, or give this one a storage of its own`));
    });
  });
  return unlock;
}

function failure(error: DOMException | null): StorageError {
  return new StorageError(`the browser did not keep it: ${error?.message ?? "no reason given"}`);
}
