/** Loads docs/protocol/vectors, which no implementation but their makers has written. */

import { readFileSync } from "node:fs";

import { fromHex, hex } from "../../src/bytes.js";
import { ProtocolError } from "../../src/errors.js";

// biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes
export type Case = any;

export function vectors(name: string): Case {
  return JSON.parse(
    readFileSync(new URL(`../../../../../docs/protocol/vectors/${name}.json`, import.meta.url), "utf8"),
  );
}

/** The given draws, in order; the last two are repeated for a second and third HELLO. */
export function scripted(...draws: string[]): (size: number) => Uint8Array {
  const queue = draws.map(fromHex);
  return (size) => {
    const taken = queue.shift()!;
    if (queue.length < 2) queue.push(...draws.slice(-2).map(fromHex));
    if (taken.length !== size) throw new Error(`a draw of ${size} bytes, the vector has ${taken.length}`);
    return taken;
  };
}

/** The JSON form of the vectors: bytes are {hex}. */
export function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: hex(value) };
  return Array.isArray(value) ? value.map(readable) : value;
}

/** The reason word of the ProtocolError that `call` throws, or "". */
export function reasonOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return "";
}
