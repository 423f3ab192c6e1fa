/**
 * What a client and a relay say to each other (docs/protocol/relay.rst, "Items"): each binary WebSocket message is one
 * MessagePack array of items. Those between relays are not for a client.
 */

import { Reader, Writer } from "../../../codec.js";
import { CodecError, ProtocolError } from "../../../errors.js";
import { KEY_SIZE, SIGNATURE_SIZE } from "../../../identity/keys.js";

export const VERSION = "mm-relay.1";
export const MAX_FRAME = 256 * 1024;
export const MAX_MAIL = 1024 * 1024 + 16 * 1024;
export const MAX_ITEMS = 4096;
export const MAX_MESSAGE = 2 * 1024 * 1024;
export const ID_SIZE = 16;
const LIMITS = 11;
const MAX_NAME = 255;
const MAX_ADDRESS = 256;
const MAX_REASON = 200;

/** What fields are made of; a list of them with a default may be missing at the end of an item. */
type Kind = "key" | "id" | "signature" | "uint" | "name" | "address" | "reason" | "frame" | "envelope" | "limits" | "numbers" | "boolean";
type Value = Uint8Array | number | string | boolean | number[];

/** Limits of a relay: the first is bytes of a frame, the second of an envelope; 0 is no limit. */
export type Item =
  | { type: "challenge"; nonce: Uint8Array; relay: Uint8Array; name: string }
  | { type: "signIn"; key: Uint8Array; nonce: Uint8Array; signature: Uint8Array; role: number; address: string }
  | { type: "welcome"; signature: Uint8Array; now: number; limits: number[] }
  | { type: "bye"; reason: string; retry: number }
  | { type: "open"; peer: Uint8Array; link: number; data: Uint8Array; via: string }
  | { type: "data"; peer: Uint8Array; link: number; data: Uint8Array }
  | { type: "shut"; peer: Uint8Array; link: number; reason: string }
  | { type: "pause"; peer: Uint8Array }
  | { type: "resume"; peer: Uint8Array }
  | { type: "present"; peer: Uint8Array }
  | { type: "deposit"; peer: Uint8Array; id: Uint8Array; expires: number; envelope: Uint8Array; via: string }
  | { type: "stored"; peer: Uint8Array; id: Uint8Array; expires: number }
  | { type: "declined"; peer: Uint8Array; id: Uint8Array; reason: string; retry: number }
  | { type: "room"; peer: Uint8Array }
  | { type: "ended"; number: number; peer: Uint8Array; id: Uint8Array; state: string }
  | { type: "noted"; number: number }
  | { type: "mail"; number: number; peer: Uint8Array; envelope: Uint8Array }
  | { type: "taken"; numbers: number[]; refused: boolean };

type Field = [name: string, kind: Kind, absent?: Value];

/** By tag. */
const LAYOUTS: readonly (readonly [type: Item["type"], ...fields: Field[]])[] = [
  ["challenge", ["nonce", "key"], ["relay", "key"], ["name", "name"]],
  ["signIn", ["key", "key"], ["nonce", "key"], ["signature", "signature"], ["role", "uint", 0], ["address", "address", ""]],
  ["welcome", ["signature", "signature"], ["now", "uint"], ["limits", "limits"]],
  ["bye", ["reason", "reason"], ["retry", "uint", 0]],
  ["open", ["peer", "key"], ["link", "uint"], ["data", "frame"], ["via", "address", ""]],
  ["data", ["peer", "key"], ["link", "uint"], ["data", "frame"]],
  ["shut", ["peer", "key"], ["link", "uint"], ["reason", "reason"]],
  ["pause", ["peer", "key"]],
  ["resume", ["peer", "key"]],
  ["present", ["peer", "key"]],
  ["deposit", ["peer", "key"], ["id", "id"], ["expires", "uint"], ["envelope", "envelope"], ["via", "address", ""]],
  ["stored", ["peer", "key"], ["id", "id"], ["expires", "uint"]],
  ["declined", ["peer", "key"], ["id", "id"], ["reason", "reason"], ["retry", "uint", 0]],
  ["room", ["peer", "key"]],
  ["ended", ["number", "uint"], ["peer", "key"], ["id", "id"], ["state", "reason"]],
  ["noted", ["number", "uint"]],
  ["mail", ["number", "uint"], ["peer", "key"], ["envelope", "envelope"]],
  ["taken", ["numbers", "numbers"], ["refused", "boolean", false]],
];

const TAGS = new Map(LAYOUTS.map(([type, ...fields], tag) => [type, { tag, fields }]));

/** One WebSocket message. */
export function encodeItems(items: readonly Item[]): Uint8Array {
  const writer = new Writer();
  writer.array(items.length);
  for (const item of items) writeItem(writer, item);
  return writer.done();
}

/** The items of one WebSocket message; throws ProtocolError("bad-item"). */
export function decodeItems(message: Uint8Array): Item[] {
  try {
    if (message.length > MAX_MESSAGE) throw new CodecError(`${message.length} bytes, at most ${MAX_MESSAGE} allowed`);
    const reader = new Reader(message);
    const items = reader.list(() => readItem(reader), MAX_ITEMS);
    reader.end();
    return items;
  } catch (error) {
    if (error instanceof CodecError) throw new ProtocolError("bad-item", error.message);
    throw error;
  }
}

function writeItem(writer: Writer, item: Item): void {
  const { tag, fields } = TAGS.get(item.type)!;
  const values = item as unknown as Record<string, Value>;
  writer.array(fields.length + 1);
  writer.uint(tag);
  for (const [name] of fields) writeValue(writer, values[name]!);
}

function writeValue(writer: Writer, value: Value): void {
  if (typeof value === "number") writer.uint(value);
  else if (typeof value === "string") writer.string(value);
  else if (typeof value === "boolean") writer.boolean(value);
  else if (value instanceof Uint8Array) writer.binary(value);
  else {
    writer.array(value.length);
    for (const number of value) writer.uint(number);
  }
}

function readItem(reader: Reader): Item {
  const length = reader.array();
  if (length < 1) throw new CodecError("no tag");
  const layout = LAYOUTS[reader.uint()];
  if (!layout) throw new CodecError("no item of a client has this tag");
  const [type, ...fields] = layout;
  const item: Record<string, unknown> = { type };
  fields.forEach(([name, kind, absent], index) => {
    if (index + 1 < length) item[name] = readValue(reader, kind);
    else if (absent !== undefined) item[name] = absent;
    else throw new CodecError(`${type} lacks its ${name}`);
  });
  reader.skip(length - 1 - fields.length);
  return item as unknown as Item;
}

function readValue(reader: Reader, kind: Kind): Value {
  switch (kind) {
    case "key":
      return reader.fixed(KEY_SIZE);
    case "id":
      return reader.fixed(ID_SIZE);
    case "signature":
      return reader.fixed(SIGNATURE_SIZE);
    case "uint":
      return reader.uint();
    case "name":
      return reader.string(MAX_NAME);
    case "address":
      return reader.string(MAX_ADDRESS);
    case "reason":
      return reader.string(MAX_REASON);
    case "frame":
      return reader.binary(MAX_FRAME);
    case "envelope":
      return reader.binary(MAX_MAIL);
    case "limits":
      return reader.struct(LIMITS, () => Array.from({ length: LIMITS }, () => reader.uint()));
    case "numbers":
      return reader.list(() => reader.uint(), MAX_ITEMS);
    case "boolean":
      return reader.boolean();
  }
}
