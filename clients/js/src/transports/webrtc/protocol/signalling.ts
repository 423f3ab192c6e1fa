/** What two nodes say to each other to make a channel (docs/protocol/webrtc.rst, "Signalling"): bytes, both ways. */

import { concat, text, utf8 } from "../../../bytes.js";
import { ProtocolError } from "../../../errors.js";

const VERSION = 1;
export const ATTEMPT = 8; // bytes
const HEADER = 2 + ATTEMPT;
const MAX_SIGNAL = 16 * 1024; // bytes of a whole message
const KINDS = ["offer", "answer", "candidate", "end"] as const;

/**
 * `attempt` is drawn by the one that offers. `body`: SDP (offer, answer), a candidate or nothing when that was the last
 * (candidate), or a reason word (end).
 */
export interface Signal {
  kind: (typeof KINDS)[number];
  attempt: Uint8Array;
  body: string;
}

/** Throws RangeError when it is too long. */
export function encodeSignal({ kind, attempt, body }: Signal): Uint8Array {
  const data = concat(Uint8Array.of(VERSION, KINDS.indexOf(kind) + 1), attempt, utf8(body));
  if (data.length > MAX_SIGNAL) throw new RangeError(`a signal of ${data.length} bytes`);
  return data;
}

/** Throws ProtocolError("bad-signal"). */
export function decodeSignal(data: Uint8Array): Signal {
  if (data.length < HEADER || data.length > MAX_SIGNAL) throw bad(`${data.length} bytes`);
  const kind = KINDS[data[1]! - 1];
  if (data[0] !== VERSION || !kind) throw bad(`version ${data[0]}, kind ${data[1]}`);
  const rest = data.subarray(HEADER);
  if (rest.some((byte) => byte > 127)) throw bad("not ASCII");
  const body = text(rest);
  if (kind === "end" && !/^[a-z][a-z-]{0,31}$/.test(body)) throw bad("not a reason word");
  return { kind, attempt: data.slice(2, HEADER), body };
}

function bad(what: string): ProtocolError {
  return new ProtocolError("bad-signal", what);
}
