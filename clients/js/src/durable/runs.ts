/**
 * The runs of this node: on disk they are numbered from 1, on the wire each has a random name, its epoch.
 *
 *     node/run   the number of the latest run
 */

import { fromBigEndian, random } from "../bytes.js";
import { encode, Reader } from "../codec.js";
import type { Storage } from "../storage/contract.js";

const KEY = "node/run";

export interface Run {
  readonly number: number;
  readonly epoch: number;
}

/** The run that begins now; its number is saved. `saved` has the rows of the node. Throws StorageError. */
export async function beginRun(storage: Storage, saved: ReadonlyMap<string, Uint8Array>): Promise<Run> {
  const latest = saved.get(KEY);
  const number = (latest ? new Reader(latest).uint() : 0) + 1;
  await storage.write([[KEY, encode(number)]], true);
  return { number, epoch: fromBigEndian(random(6)) + 1 };
}
