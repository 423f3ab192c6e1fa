/** Tickets: a NodeInfo as one string to paste, mail or show as a QR code (docs/protocol/identity.rst, "Tickets"). */

import { base32, concat, equal, fromBase32 } from "../bytes.js";
import { InvalidRecord, TicketError } from "../errors.js";
import { digest } from "./keys.js";
import { decodeNodeInfo, MAX_RECORD, type NodeInfo } from "./nodeinfo.js";

const PREFIX = "mm1";
const CHECKSUM_SIZE = 4;
const MAX_TEXT = (2 * 8 * (MAX_RECORD + CHECKSUM_SIZE)) / 5;

/** `mm1` and lower-case base32 of the record and a checksum. */
export function ticket(info: NodeInfo): string {
  return PREFIX + base32(concat(info.record, checksum(info.record)));
}

/** The proven record in `text`, whatever its case and however it was wrapped; else TicketError. */
export function parseTicket(text: string, now: number): NodeInfo {
  if (text.length > MAX_TEXT) throw new TicketError(`a ticket is text of at most ${MAX_TEXT} characters`);
  const compact = text.replace(/\s/g, "").toLowerCase();
  if (!compact.startsWith(PREFIX)) throw new TicketError(`a ticket of this version begins with ${PREFIX}`);
  const data = fromBase32(compact.slice(PREFIX.length));
  const record = data?.subarray(0, -CHECKSUM_SIZE);
  if (!data || !record || !equal(data.subarray(-CHECKSUM_SIZE), checksum(record))) {
    throw new TicketError("mistyped or cut; copy it again, whole");
  }
  try {
    return decodeNodeInfo(record, now);
  } catch (error) {
    if (error instanceof InvalidRecord) throw new TicketError(`${error.message}; ask for a new ticket`);
    throw error;
  }
}

function checksum(record: Uint8Array): Uint8Array {
  return digest("mm/1 ticket", record).subarray(0, CHECKSUM_SIZE);
}
