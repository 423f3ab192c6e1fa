/** What browsers say of their storage, as errors that say what to do. */

import { asError, StorageBlocked, StorageCleared, StorageError, StorageFull } from "../errors.js";

const UNWRITTEN = /IOError|write blobs|disk|no space/i; // where the disk is full before the quota is reached
const DENIED = /denied|not allowed|permission/i; // Chromium says "UnknownError" where site data are blocked

/** The error for what the browser threw. */
export function storageFault(thrown: unknown): StorageError {
  if (thrown instanceof StorageError) return thrown;
  const { name, message } = thrown ? asError(thrown) : { name: "", message: "no reason given" };
  if (name === "QuotaExceededError" || UNWRITTEN.test(message)) {
    return new StorageFull(
      `the browser has no room left for this site, and kept nothing of it (${message}): make room on this device, or ` +
        "remove data of this site, then send it again; what came in is tried again until there is",
    );
  }
  if (name === "SecurityError" || (name === "UnknownError" && DENIED.test(message))) return blocked(message);
  if (name === "InvalidStateError" || name === "AbortError") {
    return new StorageCleared(`the browser closed the storage of this site (${message}): it is opened again`);
  }
  return new StorageError(`the browser did not keep it: ${message}`);
}

/** The error where cookies and site data are blocked. */
export function blocked(reason: string): StorageBlocked {
  return new StorageBlocked(
    `the browser keeps no data for this site (${reason}): allow cookies and site data for it, and reload; or give ` +
      "Platform.create a `new MemoryStorage()`, with a new key at each start and nothing kept",
  );
}

/** What is told once the storage of a running page was removed. */
export function cleared(kept: boolean, reason: string = ""): StorageCleared {
  const rest = "messages that waited there are gone: send what was not confirmed again";
  return new StorageCleared(
    kept
      ? `the data of this site were removed while it ran. Its key and its contacts are written again; ${rest}`
      : `the data of this site were removed while it ran, and nothing is kept now (${reason}). This page goes on with its ` +
          `key in memory until it is closed; ${rest}, allow site data, and reload`,
  );
}
