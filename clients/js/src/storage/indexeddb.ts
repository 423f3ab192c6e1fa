/**
 * Rows in the browser's IndexedDB. One tab at a time has a database open, by a lock that dies with its tab: two nodes
 * with one key and one queue would push each other out. Should somebody remove the data of the site meanwhile, the rows of
 * the node itself (its key, its contacts) are written again.
 */

import { AnotherTab, asError, InsecureContext } from "../errors.js";
import type { Row, Storage } from "./contract.js";
import { blocked, cleared, storageFault } from "./faults.js";
import { Journal } from "./journal.js";

const STORE = "rows";
const LOCK_TIMEOUT = 5000; // milliseconds that the page before this one may take to go
const PAUSES = [50, 200, 1000, 3000]; // milliseconds before each try to open a database again that was removed
const NODE = "node/"; // rows of the node itself: few, small, and needed for as long as it runs

export class IndexedDBStorage implements Storage {
  private readonly node = new Map<string, Uint8Array>();
  private readonly waiting = new Set<(error: Error) => void>(); // for the database that is open
  private failed: (error: Error) => void = () => {};
  private restoring: Promise<void> | undefined;
  private closed = false;

  private constructor(
    private readonly name: string,
    private database: IDBDatabase,
    private readonly journal: Journal,
    private readonly unlock: () => void,
  ) {
    this.attach(database);
  }

  /** Throws InsecureContext, AnotherTab, StorageBlocked, or StorageError. */
  static async open(name: string = "mm-platform"): Promise<IndexedDBStorage> {
    const unlock = await lock(name);
    try {
      const journal = new Journal(name);
      const storage = new IndexedDBStorage(name, await openDatabase(name), journal, unlock);
      const left = journal.rows();
      if (left.length) await storage.transaction(left, true).then(journal.note(left));
      return storage;
    } catch (error) {
      unlock();
      throw storageFault(error);
    }
  }

  watch(failed: (error: Error) => void): void {
    this.failed = failed;
  }

  async read(prefix: string, after: string = "", limit?: number): Promise<[string, Uint8Array][]> {
    if (this.restoring) await this.restoring;
    const rows = await this.whileOpen<[string, Uint8Array][]>((resolve, reject) => {
      const store = this.begin("readonly").objectStore(STORE);
      const range = rangeOf(prefix, after);
      const keys = store.getAllKeys(range, limit);
      const values = store.getAll(range, limit);
      values.onsuccess = () =>
        resolve(keys.result.map((key, index) => [key as string, values.result[index] as Uint8Array]));
      values.onerror = () => reject(storageFault(values.error));
    });
    for (const [key, value] of rows) if (key.startsWith(NODE)) this.node.set(key, value);
    return rows;
  }

  async keys(prefix: string): Promise<string[]> {
    if (this.restoring) await this.restoring;
    return this.whileOpen<string[]>((resolve, reject) => {
      const keys = this.begin("readonly").objectStore(STORE).getAllKeys(rangeOf(prefix));
      keys.onsuccess = () => resolve(keys.result as string[]);
      keys.onerror = () => reject(storageFault(keys.error));
    });
  }

  /** What need not be durable is noted in the journal first; it is safe from a reload at once. */
  async write(rows: Row[], durable: boolean): Promise<void> {
    if (this.restoring) await this.restoring;
    this.remember(rows);
    const forget = this.journal.note(durable ? [] : rows);
    await this.transaction(rows, durable);
    forget();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.database.close();
    this.unlock();
  }

  private remember(rows: Row[]): void {
    for (const [key, value] of rows) {
      if (!key.startsWith(NODE)) continue;
      if (value) this.node.set(key, value.slice());
      else this.node.delete(key);
    }
  }

  /** Have what the browser does to the database noticed. */
  private attach(database: IDBDatabase): void {
    this.database = database;
    database.onclose = () => {
      if (database === this.database) this.lost();
    };
    database.onversionchange = () => {
      database.close();
      this.lost();
    };
  }

  /** The outcome of `work`, or an error when the browser closes the database meanwhile: its own events may never come. */
  private whileOpen<T>(work: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    let abandon = (_: Error): void => {};
    return new Promise<T>((resolve, reject) => {
      abandon = reject;
      this.waiting.add(abandon);
      work(resolve, reject);
    }).finally(() => this.waiting.delete(abandon));
  }

  private lost(): void {
    for (const abandon of this.waiting) abandon(storageFault(new DOMException("it was removed", "AbortError")));
    if (this.closed) return;
    this.restoring ??= this.restore().finally(() => {
      this.restoring = undefined;
    });
  }

  /** Whoever removes the data is still at it when the database is closed, so the first try may come to nothing. */
  private async restore(): Promise<void> {
    let reason = "";
    for (const pause of PAUSES) {
      await new Promise((go) => setTimeout(go, pause));
      if (this.closed) return;
      try {
        this.attach(await openDatabase(this.name));
        await this.transaction([...this.node], true);
        this.failed(cleared(true));
        return;
      } catch (error) {
        reason = asError(error).message;
      }
    }
    this.failed(cleared(false, reason));
  }

  private begin(mode: IDBTransactionMode, options?: IDBTransactionOptions): IDBTransaction {
    try {
      return this.database.transaction(STORE, mode, options);
    } catch (error) {
      this.lost(); // it is closed, and the event may still come
      throw storageFault(error);
    }
  }

  private transaction(rows: Row[], durable: boolean): Promise<void> {
    return this.whileOpen<void>((resolve, reject) => {
      const transaction = this.begin("readwrite", { durability: durable ? "strict" : "relaxed" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(storageFault(transaction.error));
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
    request.onerror = () => reject(storageFault(request.error));
  });
}

/** Gives the function that lets go again. */
async function lock(name: string): Promise<() => void> {
  if (!globalThis.navigator?.locks) {
    throw new InsecureContext(
      "this page came over plain http, where browsers have no locks between tabs: open it by https, or from localhost",
    );
  }
  let unlock = (): void => {};
  const held = new Promise<void>((resolve) => (unlock = resolve));
  await new Promise<void>((resolve, reject) => {
    const options = { signal: AbortSignal.timeout(LOCK_TIMEOUT) };
    const granted = (): Promise<void> => {
      resolve();
      return held;
    };
    navigator.locks
      .request(`mm ${name}`, options, granted)
      .catch((thrown: unknown) => reject(notLocked(name, asError(thrown))));
  });
  return unlock;
}

function notLocked(name: string, error: Error): Error {
  if (error.name === "SecurityError") return blocked(error.message);
  return new AnotherTab(
    `another tab has ${name} open, and is this node: go on there, or close it and try again here; or give this tab a ` +
      'storage, and so a key, of its own: `storage: await IndexedDBStorage.open("another")`',
  );
}
